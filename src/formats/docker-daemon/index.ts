import type { Format, PlaceText } from '../format.js';

/** A running engine, which takes and gives archives: `archive` is their format. */
export function dockerDaemon(archive: Format): Format {
  return {
    prefix: 'docker-daemon',
    title: 'a running Docker or Podman engine',
    operand: 'NAME[:TAG]',
    recognises: () => false,
    open: async (_, context) => (await import('./read.js')).openEngine(context, archive),
    create: async (_, context) => (await import('./write.js')).createInEngine(context, archive),
    split,
    blobStore: undefined,
    remove: undefined,
    traits: {
      dropsHost: false,
      takesPort: true,
      holdsSignatures: false,
      uncompressedByNature: true,
      compressesSaved: false,
      isEngine: true,
      remote: true,
      sequential: true,
      takesSparse: false,
    },
  };
}

/** `NAME[:TAG]`, `NAME@ID` or an ID, `sha256:…`; all images without either (skopeo's docker-daemon, containers-transports(5)). */
function split(text: string): PlaceText {
  if (text === '') return { path: '' };
  const id = /^(?:[^@]*@)?(sha256:[0-9a-f]{12,64})$/.exec(text)?.[1];
  return { path: '', reference: id ?? text };
}
