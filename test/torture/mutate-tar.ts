import type { Random } from '../bench/random.js';
import { pick } from './nasty-values.js';
import { paxRecords, rawMember } from './raw-tar.js';

const BLOCK = 512;
/** Fields of a header (POSIX ustar), the last one of GNU's: bytes from and to. */
const FIELDS = [
  [0, 100],
  [100, 124],
  [124, 136],
  [148, 156],
  [156, 157],
  [157, 257],
  [257, 265],
  [345, 500],
  [482, 512],
] as const;
const CONTENTS = [
  '',
  '\0',
  'a',
  'a/',
  './a/../b',
  'ü'.repeat(50),
  '\ufeffa',
  '\xff\xfe',
  '0',
  '1',
  '2',
  '5',
  '7',
  'x',
  'g',
  'L',
  'K',
  'N',
  'S',
  'ustar\x0000',
  'ustar  \0',
  '00000000000\0',
  '00000001000 ',
  '  1000\0\0\0\0\0\0',
  '\0\0  1000    ',
  '1000 1000   ',
  '-0000001000\0',
  '0000000008x\0',
  '777777777777',
  '\x80\0\0\0\0\0\0\0\0\0\0\x07',
  '\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff',
  '\xff'.repeat(12),
  'not a number',
];
const RECORDS = [
  ['path', 'a'],
  ['path', ''],
  ['path', 'd/'],
  ['path', '\ufeffx'],
  ['linkpath', 'a'],
  ['linkpath', ''],
  ['size', '0'],
  ['size', '1'],
  ['size', '512'],
  ['size', '-1'],
  ['size', ''],
  ['size', '1e3'],
  ['size', '9'.repeat(15)],
  ['comment', 'x'],
  ['GNU.sparse.major', '1'],
  ['__proto__', 'x'],
  ['', 'x'],
] as const;
const MALFORMED = ['', '5 a=\n', '0 a=b\n', '-6 a=b', '6 a=b', '7 path\n', '99 path=a\n', '\0'.repeat(600)];

/** Where headers begin, as far as a sound archive goes. */
function headersOf(bytes: Buffer): number[] {
  const headers: number[] = [];
  for (let at = 0; at + BLOCK <= bytes.length && bytes[at] !== 0;) {
    headers.push(at);
    const size = Math.max(parseInt(bytes.toString('latin1', at + 124, at + 136), 8) || 0, 0);
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return headers;
}

/** Makes the checksum of a header good. */
function signed(header: Buffer): void {
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

function extension(random: Random): Buffer {
  const flag = pick(random, ['x', 'x', 'x', 'g', 'L', 'K', 'N']);
  const records = Array.from({ length: 1 + random.below(3) }, () => pick(random, RECORDS));
  const content = /[xg]/.test(flag) ? paxRecords(records) : Buffer.from(pick(random, CONTENTS), 'latin1');
  return rawMember({
    name: 'header',
    flag,
    body: random.below(5) === 0 ? Buffer.from(pick(random, MALFORMED)) : content,
  });
}

function spliced(bytes: Buffer, at: number, count: number, ...by: Buffer[]): Buffer {
  return Buffer.concat([bytes.subarray(0, at), ...by, bytes.subarray(at + count)]);
}

function changed(bytes: Buffer, random: Random): Buffer {
  const headers = headersOf(bytes);
  const at = headers.length === 0 ? 0 : pick(random, headers);
  const copy = Buffer.from(bytes);
  const header = copy.subarray(at, at + BLOCK);
  if (header.length < BLOCK) return bytes;
  const anyBlock = random.below(Math.ceil(bytes.length / BLOCK)) * BLOCK;
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2: {
      const [start, end] = pick(random, FIELDS);
      header.fill(0, start, end);
      Buffer.from(pick(random, CONTENTS), pick(random, ['latin1', 'utf8'])).copy(
        header,
        start,
        0,
        end - start,
      );
      if (start !== 148) signed(header);
      return copy;
    }
    case 3:
      header[random.below(BLOCK)] = random.below(256);
      if (random.below(2) === 0) signed(header);
      return copy;
    case 4:
    case 5:
    case 6:
      return spliced(bytes, at, 0, ...Array.from({ length: 1 + random.below(3) }, () => extension(random)));
    case 7:
      return spliced(bytes, at, 0, ...Array.from({ length: 20 }, () => extension(random)));
    case 8:
      return spliced(bytes, pick(random, [at, anyBlock]), pick(random, [0, BLOCK]), Buffer.alloc(BLOCK));
    case 9:
      return spliced(bytes, anyBlock, BLOCK);
    case 10:
      return spliced(bytes, anyBlock, 0, bytes.subarray(at, at + BLOCK));
    default:
      return bytes.subarray(0, random.below(bytes.length));
  }
}

/** One to three changes of a tar's headers and blocks. */
export function mutateTar(sound: Buffer, random: Random): Buffer {
  let bytes = sound;
  for (let i = pick(random, [1, 1, 1, 2, 3]); i > 0; i--) bytes = changed(bytes, random);
  return bytes;
}
