import {
  FLATE_VERSIONS,
  type FlateVersion,
  KlauspostGzip,
  Pgzip,
} from '../../src/codecs/klauspost-deflate.js';
import { type Kind, kinds, type Random, randomOf, sampleOf } from './deflate-samples.js';

const MORE = {
  /** Headers, text and padding, as in an archive. */
  tar(bytes, random) {
    for (let at = 0; at < bytes.length; at += 512 + random(12) * 512) {
      bytes.set(Buffer.from(`usr/share/doc/file-${random(1e6)}`).subarray(0, bytes.length - at), at);
      const content = bytes.subarray(at + 512, at + 512 + random(5000));
      content.set(sampleOf(random(3) === 0 ? 'random' : 'text', content.length, random));
    }
  },
  /** Few matches: about as many tokens as bytes, where a block is written as literals. */
  sixteenth(bytes, random) {
    const symbols = 130 + random(127);
    const often = 15 + random(60);
    for (let at = 0; at < bytes.length; at++) {
      if (at > 300 && at + 8 < bytes.length && random(often) === 0) {
        const from = at - 1 - random(300);
        bytes.copyWithin(at, from, from + 4 + random(9));
        at += 3;
      } else bytes[at] = random(symbols);
    }
  },
  /** The same with other symbols from place to place: codes are used again, or not. */
  drifting(bytes, random) {
    let [first, width] = [0, 8];
    for (let at = 0; at < bytes.length; at++) {
      if (random(9000) === 0) [first, width] = [random(200), 2 + random(60)];
      if (at > 40_000 && random(30) === 0) {
        const from = at - 1 - random(40_000);
        const length = 3 + random(random(4) === 0 ? 700 : 12);
        bytes.copyWithin(at, from, from + length);
        at += length - 1;
      } else bytes[at] = first + Math.min(random(width), random(width));
    }
  },
} satisfies Record<string, (bytes: Uint8Array, random: Random) => unknown>;

export type KlauspostKind = Kind | keyof typeof MORE;
export const klauspostKinds = [...kinds, ...Object.keys(MORE)] as KlauspostKind[];

export function klauspostSampleOf(kind: KlauspostKind, size: number, random: Random): Uint8Array {
  if (!(kind in MORE)) return sampleOf(kind as Kind, size, random);
  const bytes = new Uint8Array(size);
  MORE[kind as keyof typeof MORE](bytes, random);
  return bytes;
}

/** What is compressed of each kind for a digest of klauspost-digests.json. */
export function* digestInputs(kind: KlauspostKind): Generator<Uint8Array> {
  for (const size of [0, 1, 12, 13, 32, 33, 128, 300, 5000, 65536, 150_000])
    yield klauspostSampleOf(kind, size, randomOf(size + 11));
  if (kind === 'drifting') yield klauspostSampleOf(kind, 1_100_000, randomOf(1));
}

export type Form = 'gzip' | 'pgzip';
export const versions = FLATE_VERSIONS;

/** pgzip is never made of Go's own. */
export function formsOf(version: FlateVersion): readonly Form[] {
  return version === 'go1.27' ? ['gzip'] : ['gzip', 'pgzip'];
}

/** The input in calls of `write` of these sizes, then the rest. */
export function encode(
  form: Form,
  version: FlateVersion,
  level: number,
  bytes: Uint8Array,
  sizes: readonly number[] = [],
): Buffer {
  const writer = form === 'pgzip' ? new Pgzip(version, level) : new KlauspostGzip(version, level);
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const size of sizes) parts.push(writer.write(bytes.subarray(at, (at += size))));
  if (at < bytes.length) parts.push(writer.write(bytes.subarray(at)));
  parts.push(writer.end());
  return Buffer.concat(parts);
}
