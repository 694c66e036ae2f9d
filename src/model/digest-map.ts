import { randomFillSync } from 'node:crypto';
import type { Digest } from './digest.js';

/** Of a sha256 digest 160 bits are kept, in words of 32: to find two digests that are alike in them takes 2^80 tries. */
const WORDS = 5;
/** Manifests name digests that nothing has: without numbers of this process, a manifest could make all of them collide. */
const MULTIPLIERS = randomFillSync(new Uint32Array(WORDS)).map((random) => random | 1);
const LEAST = 8;
const SHA256 = 'sha256:';
const FREE = NaN;
/** So full a part grows, by so much: of its memory no more than half is ever free. */
const FULL = 7 / 8;
const GROWTH = 1.5;
/** Grown one by one, or there would be two of a large table at once. */
const PARTS = 32;

/** For whole numbers up to 2^24, or up to 2^53. */
type Numbers = typeof Float32Array | typeof Float64Array;

/**
 * Numbers by digest, in a tenth of the memory that a `Map` with strings takes: for what a run knows of every blob of a
 * hundred thousand images.
 */
export class DigestMap {
  readonly #parts: (Part | undefined)[] = Array.from({ length: PARTS }, () => undefined);
  /** Of other algorithms. */
  readonly #others = new Map<Digest, number>();
  readonly #bytes = Buffer.alloc(32);
  readonly #words = new Uint32Array(this.#bytes.buffer, this.#bytes.byteOffset, WORDS + 1);
  readonly #Numbers: Numbers;

  constructor(Numbers: Numbers = Float64Array) {
    this.#Numbers = Numbers;
  }

  get size(): number {
    return this.#parts.reduce((sum, part) => sum + (part?.count ?? 0), this.#others.size);
  }

  get(digest: Digest): number | undefined {
    if (!digest.startsWith(SHA256)) return this.#others.get(digest);
    return this.#partOf(digest)?.get(this.#words);
  }

  has(digest: Digest): boolean {
    return this.get(digest) !== undefined;
  }

  set(digest: Digest, value: number): void {
    if (!digest.startsWith(SHA256)) {
      this.#others.set(digest, value);
      return;
    }
    const part = this.#partOf(digest) ?? new Part(this.#Numbers);
    this.#parts[this.#place] = part;
    part.set(this.#words, value);
  }

  *values(): Generator<number> {
    for (const part of this.#parts) if (part !== undefined) yield* part.values();
    yield* this.#others.values();
  }

  /** The word after those that are kept chooses the part. */
  get #place(): number {
    return (this.#words[WORDS] ?? 0) % PARTS;
  }

  /** Leaves the digest in `#words`. */
  #partOf(digest: Digest): Part | undefined {
    this.#bytes.write(digest.slice(SHA256.length), 'hex');
    return this.#parts[this.#place];
  }
}

export type Digests = Pick<ReadonlySet<Digest>, 'has'>;

/** Digests, in as little memory as a `DigestMap` takes. */
export class DigestSet implements Digests {
  readonly #map = new DigestMap(Float32Array);

  add(digest: Digest): void {
    this.#map.set(digest, 0);
  }

  has(digest: Digest): boolean {
    return this.#map.has(digest);
  }
}

function hashOf(words: Uint32Array, from: number): number {
  let hash = 0;
  for (let i = 0; i < WORDS; i++) {
    hash = Math.imul(hash ^ (words[from + i] ?? 0), MULTIPLIERS[i] ?? 1);
    hash ^= hash >>> 15;
  }
  return hash >>> 0;
}

/** A table with open addressing. */
class Part {
  count = 0;
  #keys = new Uint32Array(LEAST * WORDS);
  #values: Float32Array | Float64Array;

  constructor(Numbers: Numbers) {
    this.#values = new Numbers(LEAST).fill(FREE);
  }

  get(words: Uint32Array): number | undefined {
    const value = this.#values[this.#slotOf(words, 0)];
    return value === undefined || Number.isNaN(value) ? undefined : value;
  }

  set(words: Uint32Array, value: number): void {
    if (this.count >= this.#values.length * FULL) this.#grow();
    this.#put(words, 0, value);
  }

  *values(): Generator<number> {
    for (const value of this.#values) if (!Number.isNaN(value)) yield value;
  }

  /** Where these words are, or would be. */
  #slotOf(words: Uint32Array, from: number): number {
    const { length } = this.#values;
    for (let slot = hashOf(words, from) % length; ; slot = slot + 1 === length ? 0 : slot + 1)
      if (Number.isNaN(this.#values[slot]) || this.#isAt(slot, words, from)) return slot;
  }

  #isAt(slot: number, words: Uint32Array, from: number): boolean {
    for (let i = 0; i < WORDS; i++) if (this.#keys[slot * WORDS + i] !== words[from + i]) return false;
    return true;
  }

  #put(words: Uint32Array, from: number, value: number): void {
    const slot = this.#slotOf(words, from);
    if (Number.isNaN(this.#values[slot])) this.count++;
    this.#keys.set(words.subarray(from, from + WORDS), slot * WORDS);
    this.#values[slot] = value;
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    const length = Math.ceil(values.length * GROWTH);
    this.#keys = new Uint32Array(length * WORDS);
    this.#values = values instanceof Float32Array ? new Float32Array(length) : new Float64Array(length);
    this.#values.fill(FREE);
    this.count = 0;
    for (const [slot, value] of values.entries())
      if (!Number.isNaN(value)) this.#put(keys, slot * WORDS, value);
  }
}
