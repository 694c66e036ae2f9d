import type { Format } from '../format.js';
import { hostsOf, splitPlace } from './paths.js';

/** Loaded when it is needed: other commands need no HTTP. */
export const docker: Format = {
  prefix: 'docker',
  title: 'a registry',
  operand: 'REGISTRY',
  recognises: () => false,
  open: async (path, context) => (await import('./read.js')).openDocker(path, context),
  create: async (path, context) => (await import('./write.js')).createDocker(path, context),
  registry: { split: splitPlace, hostsOf },
  blobStore: undefined,
  remove: async (path, context) => (await import('./removal.js')).removeFromDocker(path, context),
  traits: {
    dropsHost: true,
    takesPort: false,
    holdsSignatures: false,
    uncompressedByNature: false,
    compressesSaved: true,
    remote: true,
    sequential: false,
    takesSparse: false,
  },
};
