import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { extract, pack, type Header } from 'tar-stream';

/** Archives as an implementation that is not imgconv's reads and writes them. */
export interface TarMember {
  readonly header: Partial<Header> & Pick<Header, 'name'>;
  readonly body: Buffer;
}

export async function readTar(bytes: Buffer): Promise<TarMember[]> {
  const members: TarMember[] = [];
  const reader = extract();
  const read = async () => {
    for await (const entry of reader) members.push({ header: entry.header, body: await buffer(entry) });
  };
  await Promise.all([pipeline(Readable.from([bytes]), reader), read()]);
  return members;
}

export async function writeTar(members: readonly TarMember[]): Promise<Buffer> {
  const archive = pack();
  for (const { header, body } of members) {
    const { name, type = 'file', linkname = '' } = header;
    archive.entry({ name, type, mtime: new Date(0), ...(linkname && { linkname }) }, body);
  }
  archive.finalize();
  return buffer(archive);
}

/** A member that is a file; `name` says where. */
export function file(name: string, body: string | Buffer): TarMember {
  return { header: { name, type: 'file' }, body: Buffer.from(body) };
}

export function link(type: 'link' | 'symlink', name: string, linkname: string): TarMember {
  return { header: { name, type, linkname }, body: Buffer.alloc(0) };
}

/** A small archive, always the same for the same files: what layers are made of. */
export function tarOf(files: Readonly<Record<string, string | Buffer>>): Promise<Buffer> {
  return writeTar(Object.entries(files).map(([name, body]) => file(name, body)));
}

export function readTarFile(path: string): Promise<TarMember[]> {
  return readTar(readFileSync(path));
}

/** The body of the member of this name. */
export function bodyOf(members: readonly TarMember[], name: string): Buffer {
  const found = members.find(({ header }) => header.name === name);
  if (found === undefined)
    throw new Error(`no ${name} in ${members.map(({ header }) => header.name).join(', ')}`);
  return found.body;
}
