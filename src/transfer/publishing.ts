import type { ImageWriter } from '../formats/format.js';
import type { Digest } from '../model/digest.js';
import type { ImageReport } from './report.js';

/** An image that is staged. */
export interface Outcome {
  readonly key: string;
  readonly bytes: number;
  /** What is to be said of it once it is visible. */
  readonly report: ImageReport;
  /** Blobs that were fetched for it, and may go now. */
  readonly fetched: readonly Digest[];
}

/** So many images or bytes become visible together: syncing once for many is what makes many cheap. */
const MOST = { images: 1024, bytes: 2 * 1024 ** 3 };
/** A staged image waits no longer for others, so that it is soon reported and survives an interruption. */
const LONGEST_MS = 2000;

/**
 * Publishes staged images, several at a time. While they are published, no other image is written: `write` waits, and
 * so does `publish` for the writes that are under way.
 */
export class Publishing {
  readonly #writer: ImageWriter;
  /** Hears of images that have become visible, in the order of their keys. */
  readonly #onPublished: (outcomes: readonly Outcome[]) => void;
  readonly #staged: Outcome[] = [];
  #bytes = 0;
  #writing = 0;
  #idle: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #publishing: Promise<void> | undefined;

  constructor(writer: ImageWriter, onPublished: (outcomes: readonly Outcome[]) => void) {
    this.#writer = writer;
    this.#onPublished = onPublished;
  }

  /** Runs `work`, which stages an image, while nothing is published. */
  async write<T>(work: () => Promise<T>): Promise<T> {
    while (this.#publishing !== undefined) await this.#publishing;
    this.#writing++;
    try {
      return await work();
    } finally {
      this.#writing--;
      if (this.#writing === 0) this.#idle?.();
    }
  }

  /** The image is staged. Publishes it, with others that wait, if it is time. */
  async add(outcome: Outcome): Promise<void> {
    if (this.#isClosed) return;
    this.#staged.push(outcome);
    this.#bytes += outcome.bytes;
    if (this.#staged.length >= MOST.images || this.#bytes >= MOST.bytes) await this.publish();
    else
      this.#timer ??= setTimeout(() => {
        // Whoever writes or publishes next hears of a failure.
        this.publish().catch(() => undefined);
      }, LONGEST_MS);
  }

  /** Publishes all that is staged. @throws what the writer throws; then every later call throws the same */
  async publish(): Promise<void> {
    while (this.#publishing !== undefined) await this.#publishing;
    if (this.#isClosed) return;
    this.#publishing = this.#publish();
    await this.#publishing;
    this.#publishing = undefined;
  }

  async #publish(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#idle = undefined;
    await this.#writer.publish();
    // No image was written since, so that these are all visible.
    const staged = this.#staged.splice(0);
    this.#bytes = 0;
    this.#onPublished(staged.sort((a, b) => (a.key < b.key ? -1 : 1)));
  }

  /** Nothing more is published. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }
}
