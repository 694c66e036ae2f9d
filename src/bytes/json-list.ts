/** So much is held together. */
const PART = 256 * 1024;

/** A list that grows to many entries, as the bytes of its JSON: strings take several times the memory until they are joined. */
export class JsonList {
  #parts: Buffer[] = [];
  #last = Buffer.alloc(0);
  #used = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(entry: object): void {
    const text = `${this.#length === 0 ? '' : ','}${JSON.stringify(entry)}`;
    const size = Buffer.byteLength(text);
    if (this.#last.length - this.#used < size) {
      this.#parts.push(this.#last.subarray(0, this.#used));
      this.#last = Buffer.allocUnsafeSlow(Math.max(PART, size));
      this.#used = 0;
    }
    this.#used += this.#last.write(text, this.#used);
    this.#length++;
  }

  /** The list, between what a document has before and after it; nothing is left then. */
  take(before = '', after = ''): Buffer {
    const parts = [...this.#parts, this.#last.subarray(0, this.#used)];
    this.#parts = [];
    this.#last = Buffer.alloc(0);
    this.#used = this.#length = 0;
    return Buffer.concat([Buffer.from(`${before}[`), ...parts, Buffer.from(`]${after}`)]);
  }
}
