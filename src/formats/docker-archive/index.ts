import type { Format } from '../format.js';
import { LayoutTarWriter } from '../layout-tar.js';
import { openArchive, recognisesArchive } from './read.js';

export const dockerArchive: Format = {
  prefix: 'docker-archive',
  short: 'tar',
  title: 'the tar that `docker save` writes and `docker load` reads',
  operand: 'FILE',
  recognises: recognisesArchive,
  open: openArchive,
  create: (path, context) => Promise.resolve(new LayoutTarWriter(path, context, true)),
  heap: undefined,
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
