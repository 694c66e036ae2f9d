import type { Format } from '../format.js';
import { recognisesRegistry } from './paths.js';

export const registry: Format = {
  prefix: 'reg',
  short: 'reg',
  title: 'the storage directory of a Distribution registry (docker/registry/v2)',
  operand: 'STORE',
  recognises: recognisesRegistry,
  open: async (path) => (await import('./read.js')).openRegistry(path),
  create: async (path, context) => (await import('./write.js')).createRegistry(path, context),
  heap: async (path) => (await import('./heap.js')).registryHeap(path),
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
