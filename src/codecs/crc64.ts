/*
 * CRC-64 with the ISO polynomial, as Go's hash/crc64 has it (crc64.ISO, 0xD800000000000000, reflected; inverted before
 * and after). In halves of 32 bits: BigInt is a hundred times slower.
 */
const POLYNOMIAL_HIGH = 0xd8000000;
/** What one byte does to the low and to the high half. */
const LOW = new Uint32Array(256);
const HIGH = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let [low, high] = [byte, 0];
  for (let bit = 0; bit < 8; bit++) {
    const isOdd = (low & 1) !== 0;
    low = (low >>> 1) | (high << 31);
    high = isOdd ? (high >>> 1) ^ POLYNOMIAL_HIGH : high >>> 1;
  }
  LOW[byte] = low;
  HIGH[byte] = high;
}

/** A CRC-64 under way. */
export class Crc64 {
  #low = 0xffffffff;
  #high = 0xffffffff;

  update(bytes: Uint8Array): void {
    let [low, high] = [this.#low, this.#high];
    for (const byte of bytes) {
      const at = (low ^ byte) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ (LOW[at] ?? 0);
      high = (high >>> 8) ^ (HIGH[at] ?? 0);
    }
    this.#low = low;
    this.#high = high;
  }

  /** The eight bytes, the highest first, in hex. */
  hex(): string {
    const half = (value: number) => (~value >>> 0).toString(16).padStart(8, '0');
    return half(this.#high) + half(this.#low);
  }
}
