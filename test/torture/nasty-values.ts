import type { Random } from '../bench/random.js';

export function pick<T>(random: Random, all: readonly T[]): T {
  const one = all[random.below(all.length)];
  if (one === undefined) throw new Error('nothing to pick from');
  return one;
}

const HEX = '7fc4bdeea1b0c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f4051627384950';

/** Names that lead elsewhere, or that no grammar has. */
export const NAMES: readonly string[] = [
  '../../../evil',
  '../evil',
  '/etc/passwd',
  '/a/b/evil',
  './././evil',
  'a/../../evil',
  '..',
  '.',
  '/',
  '',
  'a//b',
  'demo/_layers:1',
  '_manifests:1',
  'demo/../evil:1',
  'demo/..:1',
  'DEMO/App:1',
  'demo/App:1',
  'demo/app:..',
  'demo/app:../../evil',
  'demo/app:1/../../evil',
  'demo/app@sha256:../../../evil',
  `demo/app@sha256:${HEX.toUpperCase()}`,
  `demo/app@sha256:${HEX}`,
  `${'a/'.repeat(500)}a:1`,
  `${'a'.repeat(1000)}:1`,
  `a:${'1'.repeat(1000)}`,
  'localhost:5000/app:1',
  'localhost:5000',
  'a..b/c:1',
  'docker.io/library/a:1',
  '__proto__:1',
  'constructor:1',
  'con:1',
  '\u0000evil:1',
  'a\u0000b:1',
  'a\nb:1',
  '\u001b[31mred:1',
  '\u202egnp.exe:1',
  '\ufffd:1',
  '-rf:1',
  '.imgconv-evil:1',
  'manifest.json',
  'index.json',
  'blobs/sha256',
  `blobs/sha256/${HEX}`,
];

export const DIGESTS: readonly string[] = [
  `sha256:${HEX}`,
  `sha256:${HEX.toUpperCase()}`,
  `SHA256:${HEX}`,
  `sha256:${HEX}/../../evil`,
  'sha256:../../../../evil',
  `sha256:${HEX.slice(1)}`,
  `sha512:${HEX}`,
  `sha512:${HEX}${HEX}`,
  `md5:${HEX.slice(32)}`,
  `sha256:${HEX}\n`,
  'sha256:',
  ':',
  '',
  `__proto__:${HEX}`,
  `constructor:${HEX}`,
  '/etc/passwd',
];

const NUMBERS: readonly unknown[] = [
  -1,
  -0,
  0,
  0.5,
  1,
  1.5,
  2 ** 31,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 53 + 2,
  1e300,
  -(2 ** 53),
  '1',
  null,
];

export function nested(depth: number): unknown {
  let value: unknown = [];
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

/** Something that does not belong where it will stand. */
export function nastyValue(random: Random): unknown {
  switch (random.below(9)) {
    case 0:
      return pick(random, NUMBERS);
    case 1:
      return pick(random, NAMES);
    case 2:
      return pick(random, DIGESTS);
    case 3:
      return pick(random, [null, true, false, [], {}, [[]], [null], '', [{}]]);
    case 4:
      return nested(1 + random.below(1500));
    case 5:
      return 'x'.repeat(random.below(20_000));
    case 6:
      return Array.from({ length: random.below(300) }, () => pick(random, NAMES));
    case 7:
      return { digest: pick(random, DIGESTS), size: pick(random, NUMBERS), mediaType: pick(random, NAMES) };
    default:
      return { manifests: [], layers: [], config: null, fsLayers: [], ['__proto__']: { polluted: true } };
  }
}
