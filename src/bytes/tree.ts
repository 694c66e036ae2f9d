import type { Dirent } from 'node:fs';
import { asImgconvError, type ErrorCode } from '../model/errors.js';
import { prefixBelow } from './below.js';
import { entriesIn } from './folder.js';
import { readFully } from './open-file.js';
import { lookAt, openThere } from './there.js';

/** Finds the files below folders. */
export interface TreeJob {
  readonly kind: 'tree';
  readonly root: string;
  /** Below the root, '' for the root itself; the last one is read first, with those in it before the others. */
  readonly folders: readonly string[];
  /** So many folders are read at most. */
  readonly most: number;
  readonly wants: TreeWants;
}

/** What is told of files besides their names. */
export interface TreeWants {
  /** The content of files that are called so, if it is short. */
  readonly document?: string | undefined;
  /** The sizes of all others. */
  readonly sizes?: boolean | undefined;
}

export interface TreeFile {
  /** Below the root. */
  readonly key: string;
  /** A link is never followed; `other` is a FIFO, a device or a socket. */
  readonly kind: 'file' | 'link' | 'other';
  /** As latin1; undefined for what is longer than a document or cannot be read. */
  readonly content?: string | undefined;
  readonly size?: number | undefined;
}

export interface TreePart {
  readonly files: readonly TreeFile[];
  /** Folders that were not read yet, as in the job. */
  readonly folders: readonly string[];
  /** Why a folder could not be read: the first one. */
  readonly failure?: { readonly code: ErrorCode; readonly message: string } | undefined;
}

const MAX_DOCUMENT = 256;
const room = new Uint8Array(MAX_DOCUMENT);

/** What cannot be read is left out. A link is not followed, in place of a folder neither. */
export function readTreePart({ root, folders, most, wants }: TreeJob): TreePart {
  const prefix = prefixBelow(root);
  const left = [...folders];
  const files: TreeFile[] = [];
  let failure: TreePart['failure'];
  for (let count = 0, folder = left.pop(); folder !== undefined; folder = left.pop()) {
    const below = folder === '' ? '' : `${folder}/`;
    const found: string[] = [];
    const path = folder === '' ? root : prefix + folder;
    try {
      for (const entry of entriesIn(path, root)) {
        const key = below + entry.name;
        if (entry.isDirectory()) found.push(key);
        else files.push(fileOf(entry, key, prefix + key, root, wants));
      }
    } catch (error) {
      const { code, message } = asImgconvError(error, path);
      failure ??= { code, message };
    }
    for (const key of found.reverse()) left.push(key);
    if (++count >= most) break;
  }
  return { files, folders: left, failure };
}

function fileOf(
  entry: Dirent,
  key: string,
  path: string,
  root: string,
  { document, sizes = false }: TreeWants,
): TreeFile {
  if (!entry.isFile()) return { key, kind: entry.isSymbolicLink() ? 'link' : 'other' };
  if (entry.name === document) return { key, kind: 'file', content: documentAt(path, root) };
  return { key, kind: 'file', size: sizes ? tried(() => lookAt(path, root)?.size) : undefined };
}

function documentAt(path: string, root: string): string | undefined {
  return tried(() => {
    using file = openThere(path, root);
    if (file === undefined || file.id.size > BigInt(MAX_DOCUMENT)) return undefined;
    return Buffer.from(room.buffer, 0, readFully(file.fd, room, 0, path)).toString('latin1');
  });
}

/** Whoever needs what cannot be read reads it again, and says why. */
function tried<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
