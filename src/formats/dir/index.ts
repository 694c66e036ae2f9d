import { basename, dirname, resolve } from 'node:path';
import { existingStorage, LocalStorage } from '../../storage/local.js';
import type { Format } from '../format.js';
import { recognisesDir } from './walk.js';

export const dir: Format = {
  prefix: 'dir',
  short: 'dir',
  title: 'a skopeo directory, or a tree of them from `skopeo sync`',
  operand: 'TREE',
  recognises: recognisesDir,
  open: async (path, { storage = existingStorage(path) }) => (await import('./read.js')).openDir(storage),
  create: async (path, context) => {
    const { createDir } = await import('./write.js');
    if (context.single !== true) return createDir(context.storage ?? new LocalStorage(path), context);
    const folder = resolve(path);
    return createDir(new LocalStorage(dirname(folder)), context, basename(folder));
  },
  blobStore: undefined,
  remove: async (path, _, storage = existingStorage(path)) =>
    (await import('./removal.js')).removeFromTree(storage),
  traits: {
    dropsHost: true,
    takesPort: true,
    holdsSignatures: true,
    uncompressedByNature: false,
    compressesSaved: true,
    remote: false,
    sequential: false,
    takesSparse: false,
  },
};
