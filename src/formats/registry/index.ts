import type { Format } from '../format.js';
import { registryHeap } from './heap.js';
import { openRegistry, recognisesRegistry } from './read.js';
import { createRegistry } from './write.js';

export const registry: Format = {
  prefix: 'reg',
  short: 'reg',
  title: 'the storage directory of a Distribution registry (docker/registry/v2)',
  operand: 'STORE',
  recognises: recognisesRegistry,
  open: openRegistry,
  create: createRegistry,
  heap: registryHeap,
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
