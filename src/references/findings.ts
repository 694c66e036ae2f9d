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

/** What was found in some files, and what was not. */
export class Findings {
  readonly uses: Use[] = [];
  readonly unknowns: Unknown[] = [];
  readonly failures: ImgconvError[] = [];

  /** Takes what stands in an image field: nothing for an empty one, an `Unknown` for what is no reference. */
  found(text: string, spot: Spot, container?: string): void {
    const reference = text.trim();
    if (reference === '') return;
    try {
      parseReference(withoutScheme(reference));
      this.uses.push({ ...spot, reference, container });
    } catch (error) {
      if (!(error instanceof ImgconvError)) throw error;
      this.unknown(error.message, spot);
    }
  }

  unknown(reason: string, spot: Spot): void {
    this.unknowns.push({ ...spot, reason });
  }

  readonly failed = (error: ImgconvError): void => {
    this.failures.push(error);
  };

  add({ uses, unknowns, failures }: Findings): void {
    this.uses.push(...uses);
    this.unknowns.push(...unknowns);
    this.failures.push(...failures);
  }

  map(change: (use: Use) => Use): Findings {
    const changed = new Findings();
    changed.add(this);
    changed.uses.splice(0, Infinity, ...this.uses.map(change));
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
    this.uses.splice(0, Infinity, ...kept);
    return removed;
  }

  /** Each image once, sorted, with all its uses. Of several spellings of one image (`nginx`, `nginx:latest`) the first counts. */
  images(): { reference: string; uses: readonly Use[] }[] {
    const byImage = new Map<string, Use[]>();
    for (const use of this.uses) {
      const key = imageKey(use.reference);
      byImage.set(key, [...(byImage.get(key) ?? []), use]);
    }
    return [...byImage.values()]
      .map((uses) => ({
        reference: uses.map(({ reference }) => reference).sort()[0] ?? '',
        uses: uses.sort(bySpot),
      }))
      .sort((a, b) => (a.reference < b.reference ? -1 : 1));
  }
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
