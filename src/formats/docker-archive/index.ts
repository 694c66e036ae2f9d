import type { Format } from '../format.js';
import { openArchive, recognisesArchive } from './read.js';
import { createArchive } from './write.js';

export const dockerArchive: Format = {
  prefix: 'docker-archive',
  short: 'tar',
  title: 'the tar that `docker save` writes and `docker load` reads',
  operand: 'FILE',
  recognises: recognisesArchive,
  open: openArchive,
  create: createArchive,
  traits: {
    dropsHost: false,
    takesPort: true,
    holdsSignatures: false,
    uncompressedByNature: true,
    sequential: true,
  },
};
