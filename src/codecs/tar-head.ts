import { once } from 'node:events';
import { pack, type Pack } from 'tar-stream';

/** tar-stream's own default is the time of day; the same content gives the same archive. */
const mtime = new Date(0);

/** Begins a member that is a file; what is returned takes its content. No owner and no time are said of it. */
export function beginMember(archive: Pack, name: string, size: number): ReturnType<Pack['entry']> {
  return archive.entry({ name, size, mtime });
}

/** What stands before the content of a file: its header, with a PAX record where the name is too long for one. */
export async function tarHead(name: string, size: number): Promise<Buffer> {
  const archive = pack();
  beginMember(archive, name, size);
  await once(archive as unknown as NodeJS.EventEmitter, 'readable');
  const blocks: Uint8Array[] = [];
  for (let block; (block = archive.read() as Uint8Array | null) !== null;) blocks.push(block);
  return Buffer.concat(blocks);
}
