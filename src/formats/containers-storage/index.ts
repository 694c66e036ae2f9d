import type { Format } from '../format.js';
import { recognisesStorage, splitStorage } from './paths.js';

export const containersStorage: Format = {
  prefix: 'containers-storage',
  title: 'the storage of podman, buildah and CRI-O',
  operand: '[DRIVER@ROOT]NAME',
  recognises: recognisesStorage,
  open: async (path, context) => (await import('./read.js')).openStorage(path, context),
  split: splitStorage,
  blobStore: undefined,
  remove: undefined,
  traits: {
    dropsHost: false,
    takesPort: true,
    holdsSignatures: false,
    uncompressedByNature: true,
    compressesSaved: false,
    isEngine: true,
    remote: false,
    sequential: false,
    takesSparse: false,
  },
};
