import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import type { LocalBytes } from '../bytes/region.js';
import { TarCheck } from './tar-check.js';
import { tarMember } from './tar-decode.js';
import { MAX_AFTER_END, notATar, tooMuchAfter } from './tar-errors.js';
import { BLOCK } from './tar-header.js';
import { TarIndex } from './tar-index.js';

/** Takes members of an archive that passes as a stream; says where they can be read later. */
export interface Spool {
  /** Reads all of `chunks`, or fails. `size` is what the archive says that there is of them, in bytes. */
  add(path: string, chunks: AsyncIterable<Uint8Array>, size: number): Promise<LocalBytes>;
}

/** What tar-stream gives of a member: null for a target that is not there, and for a type that it does not know. */
interface Content extends AsyncIterable<Uint8Array> {
  readonly header: Pick<Header, 'name' | 'size'> & Record<'type' | 'linkname', string | null>;
}

/**
 * Reads an archive that passes once. What follows its end is read and ignored, as tar does.
 * @throws ImgconvError ARCHIVE_INVALID
 */
export async function indexStream(
  source: AsyncIterable<Uint8Array>,
  where: string,
  spool: Spool,
): Promise<TarIndex> {
  const index = new TarIndex(where);
  let refused: unknown;
  async function* checked(): AsyncGenerator<Uint8Array> {
    try {
      yield* checkedBytes(source, index);
    } catch (error) {
      refused = error;
      throw error;
    }
  }
  // `allowUnknownFormat`, which its types lack, is for archives from before POSIX.
  const reader = extract({ allowUnknownFormat: true } as object);
  const fed = pipeline(checked, reader);
  fed.catch(() => undefined); // The loop below fails, too.
  try {
    for await (const content of reader as AsyncIterable<unknown> as AsyncIterable<Content>) {
      const { name, type, linkname, size } = content.header;
      const member = tarMember(name, type ?? '', linkname ?? '');
      const path = `${where}: ${member.name}`;
      if (member.type !== 'file') index.add(member, undefined);
      else if (size === 0) index.add(member, { kind: 'memory', path, size, bytes: new Uint8Array() });
      else index.add(member, await spool.add(path, content, size));
    }
    await fed;
  } catch (error) {
    throw refused ?? error;
  }
  return index;
}

/**
 * An archive's bytes up to its end mark, each header checked before tar-stream has it: tar-stream takes damaged
 * extended headers, goes on after the end mark, and has no bound on what stands before a member.
 */
async function* checkedBytes(source: AsyncIterable<Uint8Array>, index: TarIndex): AsyncGenerator<Uint8Array> {
  const check = new TarCheck(index.path);
  let after = 0;
  for await (const chunk of source) {
    const taken = check.push(chunk);
    if (taken > 0) yield chunk.subarray(0, taken);
    if (check.hasEnded && (after += chunk.length - taken) > MAX_AFTER_END) throw tooMuchAfter(index.path);
  }
  if (check.position < BLOCK) throw notATar(index.path, check.position);
  check.end();
  if (!check.hasEnded) index.endedAt = check.position;
}
