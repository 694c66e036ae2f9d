import { existingStorage, LocalStorage } from '../../storage/local.js';
import type { Format } from '../format.js';
import { recognisesRegistry } from './paths.js';

export const registry: Format = {
  prefix: 'reg',
  short: 'reg',
  title: 'registry storage (docker/registry/v2)',
  operand: 'STORE',
  recognises: recognisesRegistry,
  open: async (path, { storage = existingStorage(path) }) =>
    (await import('./read.js')).openRegistry(storage),
  create: async (path, context) =>
    (await import('./write.js')).createRegistry(context.storage ?? new LocalStorage(path), context),
  blobStore: async (storage) => (await import('./blob-store.js')).registryBlobStore(storage),
  remove: async (path, _, storage = existingStorage(path)) =>
    (await import('./removal.js')).removeFromRegistry(storage),
  traits: {
    dropsHost: true,
    takesPort: false,
    holdsSignatures: false,
    uncompressedByNature: false,
    compressesSaved: true,
    remote: false,
    sequential: false,
    takesSparse: true,
  },
};
