import type { Readable } from 'node:stream';
import type { RegistryAccess } from '../access.js';

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
 * Ends a request whose answer does not begin in time, counted from the last byte of the body sent: undici's own clock
 * restarts with each interim answer (RFC 9110, 15.2) and each byte of a header.
 */
export class Stall {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #idleMs: number;
  readonly #silence: Silence;
  readonly #host: string;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(outer: AbortSignal, idleMs: number, silence: Silence, host: string) {
    this.#outer = outer;
    this.#idleMs = idleMs;
    this.#silence = silence;
    this.#host = host;
    silence.begin(host);
    if (outer.aborted) this.#stop();
    else outer.addEventListener('abort', this.#stop, { once: true });
    this.#restart();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  readonly #stop = (): void => {
    this.#controller.abort(this.#outer.reason);
  };

  #restart(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const why = new Error(`no answer in ${this.#idleMs / 1000} s`);
      this.#controller.abort(Object.assign(why, { code: 'UND_ERR_HEADERS_TIMEOUT' }));
    }, this.#idleMs);
  }

  async *watched(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      this.#restart();
      this.#silence.heard(this.#host);
      yield chunk;
    }
    this.#restart();
  }

  /** The answer began; an interruption from outside still ends its body. */
  answered(body: Readable): void {
    clearTimeout(this.#timer);
    this.#silence.heard(this.#host);
    body.once('close', () => {
      this.end();
    });
  }

  end(): void {
    if (!this.#ended) this.#silence.end(this.#host);
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#stop);
  }
}
