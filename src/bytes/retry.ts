import { setTimeout as sleep } from 'node:timers/promises';
import type { ImgconvError } from '../model/errors.js';

/** A failure, and the retry that is to follow it. */
export interface Retry {
  /** What failed, and why. */
  readonly error: ImgconvError;
  /** Which retry it is, from 1 on, and how many there are at most. */
  readonly retry: number;
  readonly of: number;
  /** Until then, in seconds. */
  readonly seconds: number;
}

/** How often something is retried, and after what delay. */
export interface RetryPolicy {
  readonly times: number;
  /** Before the first retry; each further delay is twice as long. */
  readonly delayMs: number;
  /** Ends all waiting. */
  readonly signal: AbortSignal;
  /** Called before each wait. */
  readonly onRetry?: ((retry: Retry) => void) | undefined;
}

/** The longest delay. */
const MAX_DELAY_MS = 30_000;
/** If the server asks for a longer delay (`Retry-After`), there is no retry. */
const MAX_ASKED_MS = 5 * 60_000;

/** A failure that may pass. `afterMs`: the delay that the server asks for. */
export class Transient extends Error {
  readonly error: ImgconvError;
  readonly afterMs: number | undefined;

  constructor(error: ImgconvError, afterMs?: number) {
    super(error.message, { cause: error });
    this.error = error;
    this.afterMs = afterMs;
  }
}

/** The retries of one piece of work. */
export class Attempts {
  readonly #policy: RetryPolicy;
  #failures = 0;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
  }

  /** After progress: failures so far no longer count. */
  reset(): void {
    this.#failures = 0;
  }

  /** Waits before a retry; with jitter, so that many do not retry at once. @throws the failure, if it will not pass or no retries are left */
  async afterFailure(failure: unknown): Promise<void> {
    if (!(failure instanceof Transient)) throw failure;
    const { times, delayMs, signal, onRetry } = this.#policy;
    const asked = failure.afterMs ?? 0;
    if (this.#failures >= times || asked > MAX_ASKED_MS) throw failure.error;
    const delay = Math.min(delayMs * 2 ** this.#failures, MAX_DELAY_MS) * (0.5 + Math.random() / 2);
    const wait = Math.max(asked, delay);
    this.#failures++;
    if (!signal.aborted)
      onRetry?.({ error: failure.error, retry: this.#failures, of: times, seconds: wait / 1000 });
    try {
      await sleep(wait, undefined, { signal });
    } catch {
      throw failure.error; // Interrupted.
    }
  }
}

/** Repeats the work while it fails in a way that may pass. */
export async function retrying<T>(policy: RetryPolicy, work: () => Promise<T>): Promise<T> {
  const attempts = new Attempts(policy);
  for (;;) {
    try {
      return await work();
    } catch (failure) {
      await attempts.afterFailure(failure);
    }
  }
}
