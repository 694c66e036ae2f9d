import { existingStorage, LocalStorage } from '../../storage/local.js';
import type { Format } from '../format.js';
import { recognisesLayout } from './paths.js';

export const oci: Format = {
  prefix: 'oci',
  short: 'oci',
  title: 'an OCI image layout',
  operand: 'LAYOUT',
  recognises: recognisesLayout,
  open: async (path, { storage = existingStorage(path) }) => (await import('./read.js')).openLayout(storage),
  create: async (path, context) =>
    (await import('./write.js')).createLayout(context.storage ?? new LocalStorage(path), context),
  blobStore: async (storage) => (await import('./blob-store.js')).layoutBlobStore(storage),
  remove: async (path, _, storage = existingStorage(path)) =>
    (await import('./removal.js')).removeFromLayout(storage),
  traits: {
    dropsHost: false,
    takesPort: true,
    holdsSignatures: false,
    uncompressedByNature: false,
    compressesSaved: false,
    remote: false,
    sequential: false,
    takesSparse: true,
  },
};
