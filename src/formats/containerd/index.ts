import { pathExists } from '../../bytes/files.js';
import { recognisesContainerd } from '../containerd-store.js';
import type { Format, PlaceText } from '../format.js';

export const containerd: Format = {
  prefix: 'containerd',
  title: 'the root of containerd',
  operand: 'ROOT',
  recognises: recognisesContainerd,
  open: async (path, context) => (await import('./read.js')).openContainerd(path, context),
  split,
  blobStore: undefined,
  remove: undefined,
  traits: {
    dropsHost: false,
    takesPort: true,
    holdsSignatures: false,
    uncompressedByNature: false,
    compressesSaved: false,
    isEngine: true,
    remote: false,
    sequential: false,
    takesSparse: false,
  },
};

/** `ROOT[#NAMESPACE][:REFERENCE]`; a path that exists is a path, whatever characters it has. */
function split(text: string): PlaceText {
  if (pathExists(text)) return { path: text };
  const [, root, part, name] = /^([^#]*)#([A-Za-z0-9_.-]+)(?::(.+))?$/s.exec(text) ?? [];
  if (root !== undefined) return { path: root, part, reference: name };
  // The longest path before a colon that exists.
  for (let at = text.lastIndexOf(':'); at > 0; at = text.lastIndexOf(':', at - 1))
    if (pathExists(text.slice(0, at))) return { path: text.slice(0, at), reference: text.slice(at + 1) };
  return { path: text };
}
