import { Buffer } from 'node:buffer';

const BLOCK = 512;

/** A member as it is to stand in an archive, sound or not. */
export interface RawMember {
  readonly name: string | Buffer;
  readonly flag?: string | undefined;
  readonly link?: string | Buffer | undefined;
  readonly body?: Buffer | undefined;
  /** What the size field says, when that is not what there is: a number, or its twelve bytes. */
  readonly size?: number | Buffer | undefined;
  /** Changes the header before its checksum is made. */
  readonly patch?: ((header: Buffer) => void) | undefined;
}

function octal(value: number, length: number): string {
  return `${value
    .toString(8)
    .padStart(length - 1, '0')
    .slice(0, length - 1)}\0`;
}

/** One header block with a right checksum (POSIX ustar). */
export function rawHeader({
  name,
  flag = '0',
  link = '',
  body,
  size = body?.length ?? 0,
  patch,
}: RawMember): Buffer {
  const header = Buffer.alloc(BLOCK);
  Buffer.from(name).copy(header, 0, 0, 100);
  header.write(`${octal(0o644, 8)}${octal(0, 8)}${octal(0, 8)}`, 100, 'latin1');
  if (Buffer.isBuffer(size)) size.copy(header, 124, 0, 12);
  else if (size >= 0 && size < 8 ** 11 && Number.isInteger(size))
    header.write(octal(size, 12), 124, 'latin1');
  else {
    header.writeUInt8(0x80, 124);
    header.writeBigInt64BE(BigInt(Math.trunc(Math.min(Math.max(size, -(2 ** 62)), 2 ** 62))), 128);
  }
  header.write(`${octal(0, 12)}        ${flag.charAt(0)}`, 136, 'latin1');
  Buffer.from(link).copy(header, 157, 0, 100);
  header.write('ustar\x0000', 257, 'latin1');
  patch?.(header);
  header.write(' '.repeat(8), 148, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 7)} `, 148, 'latin1');
  return header;
}

export function rawMember(member: RawMember): Buffer {
  const body = member.body ?? Buffer.alloc(0);
  return Buffer.concat([rawHeader(member), body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)]);
}

/** PAX records, counted as they should be. */
export function paxRecords(records: readonly (readonly [key: string, value: string])[]): Buffer {
  return Buffer.concat(
    records.map(([key, value]) => {
      const rest = Buffer.from(` ${key}=${value}\n`);
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length++;
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
}

export function pax(...records: readonly (readonly [key: string, value: string])[]): RawMember {
  return { name: 'PaxHeader', flag: 'x', body: paxRecords(records) };
}

export const END = Buffer.alloc(2 * BLOCK);

export function rawTar(members: readonly RawMember[]): Buffer {
  return Buffer.concat([...members.map(rawMember), END]);
}
