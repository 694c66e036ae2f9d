import type { Pool } from '../threads/pool.js';

/**
 * The values used last in each run, of which a pool is the sign. A small source can give one document of megabytes ten
 * thousand names: it is read and held once.
 */
export class Cache<T> {
  readonly #capacity: number;
  readonly #runs = new WeakMap<Pool, Map<string, Promise<T>>>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(run: Pool, key: string, read: () => Promise<T>): Promise<T> {
    const known = this.#runs.get(run) ?? new Map<string, Promise<T>>();
    this.#runs.set(run, known);
    const value = known.get(key) ?? read();
    known.delete(key);
    known.set(key, value);
    const [oldest] = known.keys();
    if (known.size > this.#capacity && oldest !== undefined) known.delete(oldest);
    return value;
  }
}
