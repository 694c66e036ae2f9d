import type { Format } from '../format.js';
import { recognisesDataRoot } from './paths.js';

export const dockerRoot: Format = {
  prefix: 'docker-root',
  title: 'the data root of a Docker engine',
  operand: 'DATA-ROOT',
  recognises: recognisesDataRoot,
  open: async (path, context) => (await import('./read.js')).openDataRoot(path, context),
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
