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

/** An image that a file says it needs. */
export interface Use extends Spot {
  /** As it is written: `nginx`, `quay.io/org/app:1@sha256:…`, `oci://host/chart:1`. */
  readonly reference: string;
  /** Of a container of a Kubernetes resource: `Deployment/web/nginx`. Kustomize changes only those. */
  readonly container?: string | undefined;
}

/** Where there may be an image that cannot be told from the files alone. */
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

/** What was found in some files, and what was not. */
export class Findings {
  /** Of those that were added by `addNew`. */
  readonly #known = new Set<string | ImgconvError>();
  readonly uses: Use[] = [];
  readonly unknowns: Unknown[] = [];
  readonly failures: ImgconvError[] = [];

  /** Takes what stands in an image field: nothing for an empty one, an `Unknown` for what is no reference. */
  found(text: string, spot: Spot, container?: string): void {
    const reference = text.trim();
    if (reference === '') return;
    if (reference.length > MAX_REFERENCE) {
      this.unknown(`${shown(reference)} is longer than ${MAX_REFERENCE} characters`, spot);
      return;
    }
    try {
      parseReference(withoutScheme(reference));
      const { file, line, field } = spot;
      this.#use({ file, line, field, reference, container });
    } catch (error) {
      if (!(error instanceof ImgconvError)) throw error;
      this.unknown(error.message, spot);
    }
  }

  unknown(reason: string, { file, line, field }: Spot): void {
    this.unknowns.push({ file, line, field, reason });
  }

  readonly failed = (error: ImgconvError): void => {
    this.failures.push(error);
  };

  /** How many there are. */
  get size(): number {
    return this.uses.length + this.unknowns.length + this.failures.length;
  }

  add({ uses, unknowns, failures }: Pick<Findings, 'uses' | 'unknowns' | 'failures'>): void {
    for (const use of uses) this.#use(use);
    for (const unknown of unknowns) this.unknowns.push(unknown);
    for (const failure of failures) this.failures.push(failure);
  }

  /** As `add`, but for what was added so before, as when two files name a third. */
  addNew({ uses, unknowns, failures }: Findings): void {
    const isNew = (key: string | ImgconvError) => !this.#known.has(key) && this.#known.add(key);
    const key = ({ file, line, field }: Spot, ...more: readonly (string | undefined)[]) =>
      [file, line, field, ...more].join('\0');
    for (const use of uses) if (isNew(key(use, use.reference, use.container))) this.#use(use);
    for (const unknown of unknowns) if (isNew(key(unknown, unknown.reason))) this.unknowns.push(unknown);
    for (const failure of failures) if (isNew(failure)) this.failures.push(failure);
  }

  #use(use: Use): void {
    if (this.uses.length >= MAX_FINDINGS)
      throw new ImgconvError('DOCUMENT_INVALID', `${use.file}: more than ${MAX_FINDINGS} uses of images`);
    this.uses.push(use);
  }

  /** With other references, places or containers. */
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

  /** Takes out what these containers use; gives those that there were. */
  remove(containers: ReadonlySet<string>): ReadonlySet<string> {
    const removed = new Set<string>();
    const kept = this.uses.filter(({ container }) => {
      if (container === undefined || !containers.has(container)) return true;
      removed.add(container);
      return false;
    });
    this.uses.length = 0;
    for (const use of kept) this.uses.push(use);
    return removed;
  }

  /** Each image once, sorted, with all its uses. Of several spellings of one image (`nginx`, `nginx:latest`) the first counts. */
  images(): { reference: string; uses: readonly Use[] }[] {
    const byImage = new Map<string, Use[]>();
    for (const use of this.uses) {
      const key = imageKey(use.reference);
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

/** The same for two spellings of one image. */
function imageKey(text: string): string {
  const reference = parseReference(withoutScheme(text));
  const { tag, digest } = reference;
  return canonicalText(
    tag === undefined && digest === undefined ? { ...reference, tag: 'latest' } : reference,
  );
}

function bySpot(a: Spot, b: Spot): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return (a.line ?? 0) - (b.line ?? 0) || (a.field < b.field ? -1 : 1);
}
