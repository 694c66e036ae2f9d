import { setTimeout as sleep } from 'node:timers/promises';
import type { ImgconvError } from '../model/errors.js';

/** How often and after what wait something is tried again. */
export interface RetryPolicy {
  readonly times: number;
  /** Of the first wait; each further one is twice as long. */
  readonly delayMs: number;
  /** Ends all waiting. */
  readonly signal: AbortSignal;
}

/** Waits do not grow beyond this. */
const MAX_DELAY_MS = 30_000;
/** A longer wait is not waited for when the other side asks for it (`Retry-After`). */
const MAX_ASKED_MS = 5 * 60_000;

/** A failure that may pass. `afterMs`: how long the other side wants to be left alone. */
export class Transient extends Error {
  readonly error: ImgconvError;
  readonly afterMs: number | undefined;

  constructor(error: ImgconvError, afterMs?: number) {
    super(error.message, { cause: error });
    this.error = error;
    this.afterMs = afterMs;
  }
}

/** Tries that are left for one piece of work. */
export class Patience {
  readonly #policy: RetryPolicy;
  #failures = 0;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
  }

  /** The work got on: its failures so far do not count any more. */
  restore(): void {
    this.#failures = 0;
  }

  /** Waits for the next try; with jitter, so that many do not come back at once. @throws what failed, if it will not pass or there are no tries left */
  async afterFailure(failure: unknown): Promise<void> {
    if (!(failure instanceof Transient)) throw failure;
    const { times, delayMs, signal } = this.#policy;
    const asked = failure.afterMs ?? 0;
    if (this.#failures >= times || asked > MAX_ASKED_MS) throw failure.error;
    const wait = Math.min(delayMs * 2 ** this.#failures, MAX_DELAY_MS) * (0.5 + Math.random() / 2);
    this.#failures++;
    try {
      await sleep(Math.max(asked, wait), undefined, { signal });
    } catch {
      throw failure.error; // Interrupted: nothing is waited for any more.
    }
  }
}

/** Does the work again while it fails in a way that may pass. */
export async function retrying<T>(policy: RetryPolicy, work: () => Promise<T>): Promise<T> {
  const patience = new Patience(policy);
  for (;;) {
    try {
      return await work();
    } catch (failure) {
      await patience.afterFailure(failure);
    }
  }
}
