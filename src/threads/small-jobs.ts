import { ImgconvError, type ErrorCode } from '../model/errors.js';
import type { ErrorText, SmallJob, SmallResult, SmallResults } from './worker.js';

/** A small file that waits for others to go with it. */
interface Small {
  readonly job: SmallJob;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/** So many small files go in one. */
export const SMALL_LOT = 64;

/** Gathers jobs that cost less than a message of their own. */
export class SmallJobs {
  readonly #run: (jobs: readonly SmallJob[]) => Promise<SmallResults>;
  #waiting: Small[] = [];

  constructor(run: (jobs: readonly SmallJob[]) => Promise<SmallResults>) {
    this.#run = run;
  }

  add<T extends SmallResult>(job: SmallJob): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => void this.#send());
      if (this.#waiting.length === SMALL_LOT) void this.#send();
    });
  }

  async #send(): Promise<void> {
    const lot = this.#waiting.splice(0);
    if (lot.length === 0) return;
    try {
      const results = await this.#run(lot.map(({ job }) => job));
      for (const [i, one] of results.entries()) {
        if ('result' in one) lot[i]?.resolve(one.result as never);
        else lot[i]?.reject(errorOf(one.error));
      }
    } catch (error) {
      for (const { reject } of lot) reject(error);
    }
  }

  /** Those that wait fail. */
  close(error: unknown): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

/** The error that a thread said. */
export function errorOf({ code, message, hint, cause }: ErrorText): ImgconvError {
  return new ImgconvError(code as ErrorCode, message, hint === undefined ? { cause } : { cause, hint });
}
