/** The members of a plain tar by name, read by the letter of POSIX ustar; what is wrong with it, if it is no whole one. */
export function membersOf(archive: Buffer): ReadonlyMap<string, Buffer> | string {
  const members = new Map<string, Buffer>();
  let long: string | undefined;
  for (let at = 0; ;) {
    const header = archive.subarray(at, at + 512);
    if (header.length < 512) return `cut off at byte ${at}`;
    if (header.every((byte) => byte === 0)) break;
    const field = (start: number, length: number) =>
      header.toString('latin1', start, start + length).replace(/\0.*$/s, '');
    const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
    if (parseInt(field(148, 8), 8) !== sum) return `a damaged header at byte ${at}`;
    const size = parseInt(field(124, 12), 8);
    const body = archive.subarray(at + 512, at + 512 + size);
    if (body.length < size) return `cut off at byte ${archive.length}`;
    if (field(156, 1) === 'x') long = /^\d+ path=(.*)\n$/m.exec(body.toString('latin1'))?.[1];
    else {
      const prefix = field(345, 155);
      members.set(long ?? (prefix === '' ? field(0, 100) : `${prefix}/${field(0, 100)}`), body);
      long = undefined;
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return members;
}
