import type { Pool } from '../threads/pool.js';

/**
 * What was read lately in a run, of which a pool is the sign. A small source can give one document of megabytes ten
 * thousand names; it is to be read and held once.
 */
export class Lately<T> {
  readonly #kept: number;
  readonly #runs = new WeakMap<Pool, Map<string, Promise<T>>>();

  constructor(kept: number) {
    this.#kept = kept;
  }

  of(run: Pool, key: string, read: () => Promise<T>): Promise<T> {
    const known = this.#runs.get(run) ?? new Map<string, Promise<T>>();
    this.#runs.set(run, known);
    const value = known.get(key) ?? read();
    known.delete(key);
    known.set(key, value);
    const [oldest] = known.keys();
    if (known.size > this.#kept && oldest !== undefined) known.delete(oldest);
    return value;
  }
}
