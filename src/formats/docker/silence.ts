import type { RegistryAccess } from '../access.js';
import { HttpError } from './message.js';

/** Less of an answer than this in the time that a server may be silent counts as silence. */
const SLOWEST = 16 * 1024;

/** So often it is said that a host sends nothing. */
const SAID_EVERY_MS = 10_000;

/** How long hosts that were asked for something have sent nothing. What is sent to them counts as well. */
export class Silence {
  readonly #hosts = new Map<string, { open: number; since: number; timer: NodeJS.Timeout }>();
  readonly #say: RegistryAccess['onWaiting'];

  constructor(say: RegistryAccess['onWaiting']) {
    this.#say = say;
  }

  /** A request begins. */
  begin(host: string): void {
    if (this.#say === undefined) return;
    const known = this.#hosts.get(host);
    if (known !== undefined) {
      known.open++;
      return;
    }
    const timer = setInterval(() => {
      const silent = Date.now() - one.since;
      // Timers are not exact.
      if (silent > SAID_EVERY_MS - 500) this.#say?.({ host, seconds: Math.round(silent / 1000) });
    }, SAID_EVERY_MS);
    const one = { open: 1, since: Date.now(), timer };
    this.#hosts.set(host, one);
  }

  /** Something came, or was sent. */
  heard(host: string): void {
    const one = this.#hosts.get(host);
    if (one === undefined) return;
    one.since = Date.now();
    one.timer.refresh();
  }

  /** A request has ended, in whichever way. */
  end(host: string): void {
    const one = this.#hosts.get(host);
    if (one === undefined || --one.open > 0) return;
    clearInterval(one.timer);
    this.#hosts.delete(host);
  }
}

/**
 * Ends a request whose answer does not begin in time, counted from the last byte of the body sent, or stops, or is too
 * slow. Interim answers (RFC 9110, 15.2) and bytes of a header do not count.
 */
export class Stall {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #idleMs: number;
  readonly #silence: Silence;
  readonly #host: string;
  readonly #timer: NodeJS.Timeout;
  #ended = false;
  #isAnswered = false;
  #since = 0;
  #count = 0;

  constructor(outer: AbortSignal, idleMs: number, silence: Silence, host: string) {
    this.#outer = outer;
    this.#idleMs = idleMs;
    this.#silence = silence;
    this.#host = host;
    silence.begin(host);
    if (outer.aborted) this.#stop();
    else outer.addEventListener('abort', this.#stop, { once: true });
    this.#timer = setTimeout(() => {
      const what = this.#isAnswered ? 'nothing more of the answer' : 'no answer';
      this.abort(new HttpError('HTTP_SILENT', `${what} in ${this.#idleMs / 1000} s`));
    }, idleMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  readonly #stop = (): void => {
    this.#controller.abort(this.#outer.reason);
  };

  abort(error: unknown): void {
    this.#controller.abort(error);
  }

  async *watched(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      this.#timer.refresh();
      this.#silence.heard(this.#host);
      yield chunk;
    }
    this.#timer.refresh();
  }

  /** The answer began; an interruption from outside still ends its body. */
  answered(): void {
    this.#isAnswered = true;
    this.#timer.refresh();
    this.#silence.heard(this.#host);
    this.#since = Date.now();
  }

  /** So many bytes of the answer came. @throws HttpError HTTP_SILENT when that is too slow */
  came(bytes: number): void {
    this.#timer.refresh();
    this.#silence.heard(this.#host);
    this.#count += bytes;
    const now = Date.now();
    if (now - this.#since < this.#idleMs) return;
    if (this.#count < SLOWEST)
      throw new HttpError(
        'HTTP_SILENT',
        `no more than ${this.#count} bytes in ${Math.round(this.#idleMs / 1000)} s`,
      );
    this.#since = now;
    this.#count = 0;
  }

  end(): void {
    if (!this.#ended) this.#silence.end(this.#host);
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#stop);
  }
}
