import { statfsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { ImageWriter } from '../formats/format.js';
import { isThere } from '../bytes/region.js';
import type { LinkMode } from '../proof/verified-blob.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { manifestsOf } from '../model/tree.js';
import type { Reference } from '../model/reference.js';
import type { Job } from './prepare.js';
import { changedLayers } from './recompress.js';
import { Counter, type Plan } from './report.js';

/** What gzip makes of layers, roughly; running out of space later harms nothing, refusing what would fit does. */
const GZIP_RATIO = 0.5;

function existing(path: string): string {
  const full = resolve(path);
  return isThere(full) ? full : existing(dirname(full));
}

/** Counts each blob once, as the run will place it. Reads nothing but sizes. */
export async function planOf(
  images: readonly Pick<Job, 'name' | 'closure' | 'compression'>[],
  writer: ImageWriter,
  link: LinkMode,
): Promise<Plan> {
  const place = existing(writer.staging.root);
  const device = statSync(place).dev;
  const space = statfsSync(place);
  const counter = new Counter();
  type Action = 'compress' | 'present' | 'link' | 'copy' | 'fetch';
  /** One image may keep a layer that another's is made of. */
  const actions = new Map<string, { action: Action; size: number }>();
  for (const { name, closure, compression } of images) {
    const compressed = new Set(changedLayers(closure.root, compression).map(({ digest }) => digest));
    const manifests = new Set(manifestsOf(closure.root).map(({ descriptor }) => descriptor.digest));
    // In a tree one image may have what another lacks: what is lacking anywhere is to be placed.
    const key = (digest: Digest) => (compressed.has(digest) ? `${digest} compressed` : digest);
    const open = [...closure.blobs].filter(([digest]) =>
      [undefined, 'present'].includes(actions.get(key(digest))?.action),
    );
    // Side by side: a registry takes its time for each answer.
    const held = await Promise.all(
      open.map(
        async ([digest, blob]) =>
          !compressed.has(digest) &&
          (await isHeld(writer, name, blob, manifests.has(digest) ? 'manifest' : 'blob')),
      ),
    );
    for (const [i, [digest, blob]] of open.entries()) {
      const { size } = blob;
      const links =
        writer.links &&
        (link === 'auto' || link === 'hard') &&
        blob.isFile &&
        (blob.isStaged || blob.device === device);
      if (compressed.has(digest)) actions.set(key(digest), { action: 'compress', size });
      else if (held[i] === true) actions.set(digest, { action: 'present', size });
      else actions.set(digest, { action: blob.isRemote ? 'fetch' : links ? 'link' : 'copy', size });
    }
  }
  for (const { action, size } of actions.values()) counter.add(action, size);
  return {
    images: images.length,
    link: counter.of('link'),
    copy: counter.of('copy'),
    fetch: counter.of('fetch'),
    compress: counter.of('compress'),
    present: counter.of('present'),
    bytesNeeded:
      counter.of('copy').bytes +
      counter.of('fetch').bytes +
      Math.ceil(counter.of('compress').bytes * GZIP_RATIO),
    bytesFree: space.bavail * space.bsize,
  };
}

/** False for what cannot be looked at, such as a link in its place: writing that image says why, and fails it alone. */
async function isHeld(
  writer: ImageWriter,
  name: Reference,
  blob: { digest: Digest; size: number },
  as: 'manifest' | 'blob',
): Promise<boolean> {
  try {
    return await writer.holds(name, blob, as);
  } catch (error) {
    if (error instanceof ImgconvError && error.code === 'IO') return false;
    throw error;
  }
}

/** @throws ImgconvError NO_SPACE */
export function expectSpace({ bytesNeeded, bytesFree }: Plan, target: string): void {
  if (bytesNeeded <= bytesFree) return;
  throw new ImgconvError('NO_SPACE', `${target}: ${bytesNeeded} bytes needed, ${bytesFree} free`, {
    hint: 'nothing was written; free some space, or convert fewer images at a time',
  });
}
