import type { Random } from '../bench/random.js';

/** Some bytes of a file, and what they are. */
export interface Region {
  /** Regions of one kind are chosen as one: a layer is not hit more often because it is larger. */
  readonly kind: string;
  readonly start: number;
  readonly end: number;
}

const DAMAGES = ['bit', 'bit', 'bit', 'byte', 'zeros', 'cut', 'less', 'more', 'again'] as const;

export interface Damaged {
  readonly bytes: Buffer;
  readonly what: string;
}

function replace(bytes: Buffer, at: number, until: number, by: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(until)]);
}

/** What disks, networks and half-done copies do to a file, somewhere in a region. Always other bytes than before. */
export function damageIn(bytes: Buffer, { start, end, kind }: Region, random: Random): Damaged {
  const how = DAMAGES[random.below(DAMAGES.length)] ?? 'bit';
  const at = start + random.below(Math.max(end - start, 1));
  const some = Math.min(1 + random.skewed(Math.max(end - at, 1)), end - at);
  const make = (): Buffer => {
    const there = bytes[at] ?? 0;
    switch (how) {
      case 'bit':
        return replace(bytes, at, at + 1, Buffer.of(there ^ (1 << random.below(8))));
      case 'byte':
        return replace(bytes, at, at + 1, Buffer.of((there + 1 + random.below(255)) & 0xff));
      case 'zeros':
        return replace(bytes, at, at + some, Buffer.alloc(some));
      case 'cut':
        return bytes.subarray(0, at);
      case 'less':
        return replace(bytes, at, at + some, Buffer.alloc(0));
      case 'more':
        return replace(bytes, at, at, Buffer.from(Array.from({ length: some }, () => random.below(256))));
      case 'again':
        return replace(bytes, at, at, bytes.subarray(at, at + some));
    }
  };
  const made = make();
  if (!made.equals(bytes)) return { bytes: made, what: `${how} of ${kind} at byte ${at}` };
  const flipped = replace(bytes, at, at + 1, Buffer.of((bytes[at] ?? 0) ^ 1));
  return { bytes: flipped, what: `bit of ${kind} at byte ${at}` };
}

/** Header, body and check sum of gzip, and nearly so of the others. */
export function regionsOfPacked(bytes: Buffer, kind: string): Region[] {
  const [head, tail] = [Math.min(18, bytes.length), Math.max(bytes.length - 12, 0)];
  return [
    { kind: `${kind}: its head`, start: 0, end: head },
    { kind: `${kind}: its body`, start: head, end: Math.max(tail, head) },
    { kind: `${kind}: its end`, start: tail, end: bytes.length },
  ].filter(({ start, end }) => end > start);
}

const BLOCK = 512;
/** Fields of a header, of which each is as likely (POSIX ustar). */
const FIELDS = [
  ['name', 0, 100],
  ['mode and owner', 100, 124],
  ['size', 124, 136],
  ['mtime', 136, 148],
  ['checksum', 148, 156],
  ['type', 156, 157],
  ['link', 157, 257],
  ['magic', 257, 265],
  ['rest', 265, 512],
] as const;

/** A tar's headers, field by field, members by what they are, padding, and its end. */
export function regionsOfTar(bytes: Buffer, kindOf: (name: string, body: Buffer) => string): Region[] {
  const regions: Region[] = [];
  let at = 0;
  while (at + BLOCK <= bytes.length && bytes[at] !== 0) {
    const flag = String.fromCharCode(bytes[at + 156] ?? 0);
    for (const [field, start, end] of FIELDS)
      regions.push({ kind: `header: ${field}`, start: at + start, end: at + end });
    const size = parseInt(bytes.toString('latin1', at + 124, at + 136), 8) || 0;
    const name = bytes.toString('latin1', at, at + 100).replace(/\0.*$/s, '');
    const start = at + BLOCK;
    const padded = start + Math.ceil(size / BLOCK) * BLOCK;
    if (size > 0) {
      const kind =
        flag === 'x' || flag === 'L' ? 'extended header' : kindOf(name, bytes.subarray(start, start + size));
      regions.push({ kind, start, end: start + size });
      if (padded > start + size) regions.push({ kind: 'padding', start: start + size, end: padded });
    }
    at = padded;
  }
  regions.push({ kind: 'end of the archive', start: Math.min(at, bytes.length - 1), end: bytes.length });
  return regions;
}
