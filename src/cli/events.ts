import type { Retry } from '../bytes/retry.js';
import { printableJson } from './exit.js';
import type { ProgressDisplay } from './progress.js';
import { errorJson } from './exit.js';

/** A progress event is printed so often. */
const PROGRESS_EVERY_MS = 1000;
/** Not held longer: all lines of a hundred thousand images, which an archive has at once, are 10 MB. */
const ENOUGH = 64 * 1024;

/**
 * Events of `--json=lines`: one JSON object a line, with what happened in its field `event`.
 * - `{"event":"plan","images":3,"copy":{"blobs":9,"bytes":123456},…}`: what is going to be done.
 * - `{"event":"progress","bytes":5000,"total":123456,"images":["demo/app:1.0"]}`: each second; bytes that were read,
 *   of how many if that is known, and the images at hand.
 * - `{"event":"image","source":…,"name":…,"digest":…,"status":"written","notes":[],…}`: an image is finished or has
 *   failed; the fields of `images` in the document of `--json`.
 * - `{"event":"retry","retry":2,"of":3,"seconds":2,"error":{…}}`: a request failed, and is repeated after so long.
 * - `{"event":"waiting","host":"registry.example.com","seconds":10}`: a registry does not answer.
 * - `{"event":"repaired",…}` and `{"event":"finding",…}` of verify, when all is checked: the entries of its document.
 * - The last line is `{"event":"summary",…}`, with the counts of images by status and the other fields of the document,
 *   or `{"event":"error","error":{"code":…,"message":…,"hint":…}}` when the whole command failed.
 */
export class Events {
  readonly #display: ProgressDisplay;
  readonly #out: NodeJS.WritableStream;
  #buffer = '';
  #timer: NodeJS.Timeout | undefined;
  #told = -1;

  constructor(display: ProgressDisplay, out: NodeJS.WritableStream) {
    this.#display = display;
    this.#out = out;
  }

  /** Prints progress from now on. */
  start(): void {
    this.#timer = setInterval(() => {
      const { done, total, active } = this.#display;
      if (done === this.#told) return;
      this.#told = done;
      this.add('progress', { bytes: done, total, images: [...active] });
    }, PROGRESS_EVERY_MS).unref();
  }

  add(event: string, fields: object): void {
    this.write(`${printableJson({ event, ...fields })}\n`);
  }

  retry(retry: Retry): void {
    this.add('retry', { ...retry, error: errorJson(retry.error) });
  }

  /** Writes soon, together with what else comes until then. */
  write(text: string): void {
    if (this.#buffer === '')
      setImmediate(() => {
        this.flush();
      });
    this.#buffer += text;
    if (this.#buffer.length >= ENOUGH) this.flush();
  }

  flush(): void {
    if (this.#buffer !== '') this.#display.print(this.#out, this.#buffer);
    this.#buffer = '';
  }

  stop(): void {
    clearInterval(this.#timer);
    this.flush();
  }
}
