/** A deterministic source of numbers: sfc32 (PractRand), which is fast and passes its tests. */
export class Random {
  #a = 0x9e3779b9;
  #b = 0x243f6a88;
  #c: number;
  #counter = 1;

  constructor(seed: string) {
    const bytes = Buffer.from(seed);
    this.#c = bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5) | 0;
    for (let i = 0; i < 15; i++) this.next();
  }

  /** From 0 to 2³² - 1. */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit);
  }

  /** From 0 to limit - 1, small numbers much more often: words and instructions are used so. */
  skewed(limit: number): number {
    const part = this.next() / 2 ** 32;
    return Math.floor(part * part * part * limit);
  }
}
