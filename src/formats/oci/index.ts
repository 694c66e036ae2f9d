import type { Format } from '../format.js';
import { layoutHeap } from './heap.js';
import { recognisesLayout } from './paths.js';
import { openLayout } from './read.js';
import { createLayout } from './write.js';

export const oci: Format = {
  prefix: 'oci',
  short: 'oci',
  title: 'an OCI image layout, a folder',
  operand: 'LAYOUT',
  recognises: recognisesLayout,
  open: openLayout,
  create: createLayout,
  heap: layoutHeap,
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
