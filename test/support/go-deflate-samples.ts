import { type GoGzip, MOST } from '../../src/codecs/go-deflate.js';
import { type Kind, kinds, type Random, randomOf, sampleOf } from './deflate-samples.js';

const MORE = {
  /** Words of four bytes, near and far: Go takes a match of four bytes from at most 4096 back. */
  fours(bytes, random) {
    const words = Array.from({ length: 1 + random(3000) }, () =>
      Uint8Array.from({ length: 4 }, () => random(256)),
    );
    for (let at = 0; at < bytes.length;) {
      const word = (words[random(words.length)] ?? bytes).subarray(0, bytes.length - at);
      bytes.set(word, at);
      at += word.length;
      if (at < bytes.length && random(2) === 0) bytes[at++] = random(256);
    }
  },
  /** Headers, text and padding, as in an archive. */
  tar(bytes, random) {
    for (let at = 0; at < bytes.length; at += 512 + random(12) * 512) {
      bytes.set(Buffer.from(`usr/share/doc/file-${random(1e6)}`).subarray(0, bytes.length - at), at);
      const content = bytes.subarray(at + 512, at + 512 + random(5000));
      content.set(sampleOf(random(3) === 0 ? 'random' : 'text', content.length, random));
    }
  },
  /** About as large in Huffman codes as stored, with few matches: what level 1 decides by a sixteenth. */
  sixteenth(bytes, random) {
    let symbols = 0;
    let often = 0;
    for (let at = 0; at < bytes.length; at++) {
      if (at % 65535 < 4) {
        symbols = 130 + random(127);
        often = 30 + random(150);
      }
      if (at > 300 && at + 8 < bytes.length && random(often) === 0) {
        const from = at - 1 - random(300);
        bytes.copyWithin(at, from, from + 4 + random(4));
        at += 3;
      } else bytes[at] = random(symbols);
    }
  },
} satisfies Record<string, (bytes: Uint8Array, random: Random) => unknown>;

export type GoKind = Kind | keyof typeof MORE;
export const goKinds = [...kinds, ...Object.keys(MORE)] as GoKind[];

export function goSampleOf(kind: GoKind, size: number, random: Random): Uint8Array {
  if (!(kind in MORE)) return sampleOf(kind as Kind, size, random);
  const bytes = new Uint8Array(size);
  MORE[kind as keyof typeof MORE](bytes, random);
  return bytes;
}

export const LEVELS = [6, 1, 2, 3, 4, 5, 7, 8, 9, 0, -2];

/** What is compressed of each kind for a digest of go-gzip-digests.json. */
export function* digestInputs(kind: GoKind): Generator<Uint8Array> {
  for (const size of [0, 1, 4, 16, 17, 127, 128, 262, 300, 5000, 65535, 65537, 180_000])
    yield goSampleOf(kind, size, randomOf(size + 11));
}

/** How the input is given to Go: in calls of Write that have pseudo-random sizes up to `longest`, or all at once for 0. */
export interface Writes {
  readonly longest: number;
  readonly seed: number;
}

/** The sizes of the calls, the same as in test/interop/go-gzip.go. */
export function* sizesOf({ longest, seed }: Writes, size: number): Generator<number> {
  let state = seed;
  for (let left = size; left > 0;) {
    let part = left;
    if (longest > 0) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      part = Math.min(left, ((state >>> 0) % longest) + 1);
    }
    yield part;
    left -= part;
  }
}

/** A whole member. The parts are calls of Go's Write if `isCut`. */
export function encode(encoder: GoGzip, bytes: Uint8Array, writes: Writes, isCut: boolean): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const size of sizesOf(writes, bytes.length)) {
    for (const end = at + size; at < end; at = Math.min(end, at + MOST))
      parts.push(Buffer.from(encoder.write(bytes.subarray(at, Math.min(end, at + MOST)))));
    if (isCut) encoder.cut();
  }
  parts.push(Buffer.from(encoder.end()));
  return Buffer.concat(parts);
}

/**
 * Input with a match where Go has slid its window or not, depending on its calls of Write, and that reaches back to what the
 * window loses: at the first position with 262 bytes of the window left.
 */
export function slidingInput(): Uint8Array {
  const at = 65_536 - 262;
  const random = randomOf(5);
  const bytes = Uint8Array.from({ length: 140_000 }, () => random(200));
  return bytes.copyWithin(at, at - 32_700, at - 32_680);
}

/** Writes of which the first ends where Go has just come to that position. */
export function slidingWrites(): Writes {
  const longest = 65_535;
  for (let seed = 1; ; seed++)
    for (const first of sizesOf({ longest, seed }, longest))
      if (first === longest) return { longest, seed };
      else break;
}
