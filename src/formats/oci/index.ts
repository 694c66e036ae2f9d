import type { Format } from '../format.js';
import { recognisesLayout } from './paths.js';

export const oci: Format = {
  prefix: 'oci',
  short: 'oci',
  title: 'an OCI image layout, a folder',
  operand: 'LAYOUT',
  recognises: recognisesLayout,
  open: async (path) => (await import('./read.js')).openLayout(path),
  create: async (path, context) => (await import('./write.js')).createLayout(path, context),
  heap: async (path) => (await import('./heap.js')).layoutHeap(path),
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
