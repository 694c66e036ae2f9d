import { ImgconvError } from '../model/errors.js';
import { canonicalText, parseReference } from '../model/reference.js';

/** A field of a file, as people look for it. */
export interface Spot {
  readonly file: string;
  /** Counted from 1; undefined where the file has no lines, as a chart that was rendered. */
  readonly line: number | undefined;
  /** `spec.containers.0.image`; '' for a line of a list. */
  readonly field: string;
}

/** Of a spot that is a whole file, the file alone. */
export type At = Pick<Spot, 'file'> & Partial<Spot>;

/** An image that a file asks for. */
export interface Use extends Spot {
  /** As it is written: `nginx`, `quay.io/org/app:1@sha256:…`, `oci://host/chart:1`. */
  readonly reference: string;
  /** Of a container of a Kubernetes resource: `Deployment/web/nginx`. Kustomize changes only those. */
  readonly container?: string | undefined;
}

/** A spot that may ask for an image that cannot be determined from the files alone. */
export interface Unknown extends Spot {
  readonly reason: string;
}

/** How Helm writes a chart in a registry. */
const OCI_SCHEME = 'oci://';

/** More than any tree of files has, so that a few files that name each other many times come to no more. */
const MAX_FINDINGS = 1_000_000;
/** No reference is longer: 255 characters of repository, 128 of tag, a digest. */
export const MAX_REFERENCE = 1000;
const SHOWN = 100;

/** The images that files ask for, and what could not be determined or read. */
export class Findings {
  /** Keys of what `addNew` added. */
  readonly #known = new Set<string | ImgconvError>();
  readonly uses: Use[] = [];
  readonly unknowns: Unknown[] = [];
  readonly failures: ImgconvError[] = [];

  /** Takes the text of an image field: an empty one counts for nothing, one that is no reference as an `Unknown`. */
  found(text: string, at: At, container?: string): void {
    const reference = text.trim();
    if (reference === '') return;
    if (reference.length > MAX_REFERENCE) {
      this.unknown(`${shown(reference)} is longer than ${MAX_REFERENCE} characters`, at);
      return;
    }
    try {
      parseReference(withoutScheme(reference));
      this.#use({ ...spotOf(at), reference, container });
    } catch (error) {
      if (!(error instanceof ImgconvError)) throw error;
      this.unknown(error.message, at);
    }
  }

  unknown(reason: string, at: At): void {
    this.unknowns.push({ ...spotOf(at), reason });
  }

  readonly failed = (error: ImgconvError): void => {
    this.failures.push(error);
  };

  get size(): number {
    return this.uses.length + this.unknowns.length + this.failures.length;
  }

  add({ uses, unknowns, failures }: Pick<Findings, 'uses' | 'unknowns' | 'failures'>): void {
    for (const use of uses) this.#use(use);
    for (const unknown of unknowns) this.unknowns.push(unknown);
    for (const failure of failures) this.failures.push(failure);
  }

  /** As `add`, without what `addNew` added before, as when two files name a third. */
  addNew({ uses, unknowns, failures }: Findings): void {
    const isNew = (key: string | ImgconvError) => !this.#known.has(key) && this.#known.add(key);
    const key = ({ file, line, field }: Spot, ...more: readonly (string | undefined)[]) =>
      [file, line, field, ...more].join('\0');
    this.add({
      uses: uses.filter((use) => isNew(key(use, use.reference, use.container))),
      unknowns: unknowns.filter((unknown) => isNew(key(unknown, unknown.reason))),
      failures: failures.filter(isNew),
    });
  }

  #use(use: Use): void {
    if (this.uses.length >= MAX_FINDINGS)
      throw new ImgconvError('DOCUMENT_INVALID', `${use.file}: more than ${MAX_FINDINGS} uses of images`);
    this.uses.push(use);
  }

  /** With other references, spots or containers. */
  map(change: (use: Use) => Use): Findings {
    const changed = new Findings();
    changed.add({ uses: [], unknowns: this.unknowns, failures: this.failures });
    for (const use of this.uses) {
      const now = change(use);
      if (now.reference === use.reference) changed.#use(now);
      else changed.found(now.reference, now, now.container);
    }
    return changed;
  }

  /** Removes the uses of these containers; gives the containers that had any. */
  remove(containers: ReadonlySet<string>): ReadonlySet<string> {
    const removed = new Set<string>();
    for (const use of this.uses.splice(0)) {
      if (use.container !== undefined && containers.has(use.container)) removed.add(use.container);
      else this.uses.push(use);
    }
    return removed;
  }

  /** Each image once, sorted, with all its uses. Of several spellings of one image (`nginx`, `nginx:latest`) the first counts. */
  images(): { reference: string; uses: readonly Use[] }[] {
    const byImage = new Map<string, Use[]>();
    for (const use of this.uses) {
      const key = wholeText(use.reference);
      const known = byImage.get(key);
      if (known === undefined) byImage.set(key, [use]);
      else known.push(use);
    }
    return [...byImage.values()]
      .map((uses) => ({
        reference: uses.map(({ reference }) => reference).sort()[0] ?? '',
        uses: uses.sort(bySpot),
      }))
      .sort((a, b) => (a.reference < b.reference ? -1 : 1));
  }
}

/** The beginning of a text of any length. */
export function shown(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

export function withoutScheme(reference: string): string {
  return reference.startsWith(OCI_SCHEME) ? reference.slice(OCI_SCHEME.length) : reference;
}

/** The same for all spellings of one image: `ubuntu` is `docker.io/library/ubuntu:latest`. @throws ImgconvError NAME_INVALID */
export function wholeText(text: string): string {
  const reference = parseReference(withoutScheme(text));
  const { tag, digest } = reference;
  return canonicalText(
    tag === undefined && digest === undefined ? { ...reference, tag: 'latest' } : reference,
  );
}

function spotOf({ file, line, field = '' }: At): Spot {
  return { file, line, field };
}

function bySpot(a: Spot, b: Spot): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return (a.line ?? 0) - (b.line ?? 0) || (a.field < b.field ? -1 : 1);
}
