import type { Put } from '../storage/blob-writer.js';
import type { ImgconvError } from '../model/errors.js';

export interface ImageReport {
  /** As the source has it, or as the user asked for it. */
  readonly source: string;
  /** What chooses an image that has no name: `@N` or its digest. */
  readonly choice?: string | undefined;
  /** The name in the target; undefined when it came to none. */
  readonly name: string | undefined;
  /** Of the root manifest or index: in the source, and in the target. */
  readonly sourceDigest: string | undefined;
  readonly digest: string | undefined;
  /** How engines and people call it there: with the registry, if it is in one. */
  readonly reference: string | undefined;
  /** What the name stood for in the target before this run, if that was another image. */
  readonly previousDigest: string | undefined;
  /** `updated`: written, and the name stood for another image before. */
  readonly status: 'written' | 'updated' | 'unchanged' | 'planned' | 'failed' | 'skipped';
  readonly notes: readonly string[];
  readonly error: ImgconvError | undefined;
}

export interface Count {
  readonly blobs: number;
  readonly bytes: number;
}

export type Tally = Readonly<Record<Put | 'compressed' | 'decompressed' | 'reused', Count>>;

export interface Report {
  readonly images: readonly ImageReport[];
  readonly tally: Tally;
  /** Images without a tag that the whole source was converted without; no parts of others. */
  readonly untaggedLeftOut: number;
  readonly plan: Plan | undefined;
}

/** What a run would do: counts of blobs, and bytes of the file system of the destination, or of temporary files. */
export interface Plan {
  readonly images: number;
  /** Blobs are uploaded to a registry, and not written to this machine. */
  readonly toRegistry: boolean;
  /** To a registry: blobs that it lacks, and those that it has in another repository. */
  readonly upload: Count;
  readonly mount: Count;
  readonly link: Count;
  readonly copy: Count;
  readonly fetch: Count;
  readonly compress: Count;
  readonly present: Count;
  /** Compressed layers are counted as half of their size: how small they get is known afterwards. */
  readonly bytesNeeded: number;
  readonly bytesFree: number;
}

export class Counter {
  readonly #counts = new Map<string, Count>();

  add(kind: string, bytes: number): void {
    const { blobs, bytes: before } = this.of(kind);
    this.#counts.set(kind, { blobs: blobs + 1, bytes: before + bytes });
  }

  of(kind: string): Count {
    return this.#counts.get(kind) ?? { blobs: 0, bytes: 0 };
  }

  tally(): Tally {
    return Object.fromEntries(KINDS.map((kind) => [kind, this.of(kind)])) as Tally;
  }
}

const KINDS = [
  'linked',
  'reflinked',
  'copied',
  'moved',
  'fetched',
  'uploaded',
  'mounted',
  'present',
  'compressed',
  'decompressed',
  'reused',
] as const;

export function failedImages(report: Report): readonly ImageReport[] {
  return report.images.filter(({ status }) => status === 'failed');
}
