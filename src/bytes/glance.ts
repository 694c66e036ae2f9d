import { closeSync, constants, openSync, readSync } from 'node:fs';
import { algorithmOf, type Digest } from '../model/digest.js';
import { MAX_CONFIG, mayBeJson } from '../model/json.js';
import { layerFactsOf, type LayerFacts } from '../model/layer-facts.js';
import { digestOf } from './hash.js';

/**
 * Looks into many files for what they say of layers. With three system calls a file: links on the way to it are followed,
 * so that nothing may be taken from a file for what was seen in it here.
 */
export interface GlanceJob {
  readonly kind: 'glance';
  readonly files: readonly GlanceFile[];
}

export interface GlanceFile {
  readonly path: string;
  /** What the content is to have. */
  readonly digest: Digest | undefined;
}

/** `other` for what says nothing of layers; undefined for what cannot be read or has another digest. */
export type Glance = LayerFacts | 'other' | undefined;
/** In the order of the files. */
export type Glances = readonly Glance[];

/** Nearly all documents are shorter. */
const HEAD = 16 * 1024;
/** Enough to see that a file is no document. */
const START = 64;
const head = new Uint8Array(HEAD);

export function glance({ files }: GlanceJob): Glances {
  return files.map(({ path, digest }) => {
    try {
      return glanceInto(documentIn(path), digest);
    } catch {
      return undefined;
    }
  });
}

export function glanceInto(document: Uint8Array, digest: Digest | undefined): Glance {
  if (!mayBeJson(document.subarray(0, START))) return 'other';
  if (digest !== undefined && digestOf(document, algorithmOf(digest)) !== digest) return undefined;
  return layerFactsOf(document) ?? 'other';
}

/** A whole document, or the first bytes of anything else. @throws the system's error */
function documentIn(path: string): Uint8Array {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const count = readSync(fd, head, 0, HEAD, 0);
    const first = head.subarray(0, count);
    if (count < HEAD || !mayBeJson(first.subarray(0, START))) return first;
    const parts = [Buffer.from(first)];
    for (let size = count; size <= MAX_CONFIG;) {
      const part = Buffer.alloc(HEAD);
      const more = readSync(fd, part, 0, HEAD, size);
      if (more === 0) break;
      parts.push(part.subarray(0, more));
      size += more;
    }
    return Buffer.concat(parts);
  } finally {
    closeSync(fd);
  }
}
