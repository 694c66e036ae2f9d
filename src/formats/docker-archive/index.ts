import type { Format } from '../format.js';
import { recognisesArchive } from './recognise.js';

export const dockerArchive: Format = {
  prefix: 'docker-archive',
  short: 'tar',
  title: 'a `docker save` archive',
  operand: 'FILE',
  recognises: recognisesArchive,
  open: async (path, context) => (await import('./read.js')).openArchive(path, context),
  create: async (path, context) =>
    new (await import('../layout-tar.js')).LayoutTarWriter(path, context, true),
  blobStore: undefined,
  remove: undefined,
  traits: {
    dropsHost: false,
    takesPort: true,
    holdsSignatures: false,
    uncompressedByNature: true,
    compressesSaved: false,
    remote: false,
    sequential: true,
    takesSparse: false,
  },
};
