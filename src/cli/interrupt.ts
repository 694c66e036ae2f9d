/** The first SIGINT or SIGTERM aborts `signal` while this is in use; a second one ends the process at once. */
export class Interrupt {
  readonly #abort = new AbortController();
  readonly signal: AbortSignal = this.#abort.signal;
  /** The first that came. */
  by: NodeJS.Signals | undefined;
  readonly #stop = (name: NodeJS.Signals) => {
    this.by ??= name;
    this[Symbol.dispose]();
    this.#abort.abort();
    process.stdin.destroy(); // It may be what is waited for.
  };

  constructor() {
    process.once('SIGINT', this.#stop).once('SIGTERM', this.#stop);
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#stop).off('SIGTERM', this.#stop);
  }
}
