import type { Format } from '../format.js';
import { openDir, recognisesDir } from './read.js';
import { createDir } from './write.js';

export const dir: Format = {
  prefix: 'dir',
  short: 'dir',
  title: "skopeo's directory, or a tree of them as `skopeo sync` lays it",
  operand: 'TREE',
  recognises: recognisesDir,
  open: openDir,
  create: createDir,
  heap: undefined,
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
