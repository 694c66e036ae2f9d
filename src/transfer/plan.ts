import type { ImageWriter } from '../formats/format.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { manifestsOf } from '../model/tree.js';
import { sizeText } from '../model/size.js';
import type { Reference } from '../model/reference.js';
import type { LinkMode } from '../proof/linking.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import { fileSystemOf, type FileSystem } from '../storage/file-system.js';
import { changedLayers } from './compression.js';
import type { Job } from './job.js';
import { Counter, type Plan } from './report.js';

/** What gzip makes of layers, roughly; running out of space later harms nothing, refusing what would fit does. */
const GZIP_RATIO = 0.5;

type Action = 'compress' | 'present' | 'link' | 'copy' | 'fetch' | 'upload' | 'mount';

/** Counts each blob once, as the run will place it. Reads nothing but sizes. */
export async function planOf(jobs: readonly Job[], writer: ImageWriter, link: LinkMode): Promise<Plan> {
  const target = fileSystemOf(writer.staging.root);
  /** One image may keep a layer that another's is made of. */
  const actions = new Map<string, { action: Action; size: number }>();
  /** What comes from another registry is staged on its way. */
  let passing = 0;
  for (const { name, closure, compression } of jobs) {
    const compressed = new Set(changedLayers(closure.root, compression).map(({ digest }) => digest));
    const manifests = new Set(manifestsOf(closure.root).map(({ descriptor }) => descriptor.digest));
    // In a tree one image may have what another lacks: what is lacking anywhere is to be placed.
    const key = (digest: Digest) => (compressed.has(digest) ? `${digest} compressed` : digest);
    const open = [...closure.blobs.values()].filter(({ digest }) =>
      [undefined, 'present'].includes(actions.get(key(digest))?.action),
    );
    const actionFor = async (blob: VerifiedBlob): Promise<Action> => {
      if (compressed.has(blob.digest)) return 'compress';
      const as = manifests.has(blob.digest) ? 'manifest' : 'blob';
      if (await isHeld(writer, name, blob, as)) return 'present';
      if (writer.host === undefined) return placing(blob, writer, link, target);
      const isElsewhere = actions.has(key(blob.digest)) || blob.holder?.host === writer.host;
      return isElsewhere && as === 'blob' ? 'mount' : 'upload';
    };
    // Side by side: a registry takes its time for each answer.
    const found = await Promise.all(open.map(actionFor));
    for (const [i, action] of found.entries()) {
      const blob = open[i];
      if (blob === undefined) continue;
      actions.set(key(blob.digest), { action, size: blob.size });
      if (action === 'upload' && blob.isRemote) passing += blob.size;
    }
  }
  const counter = new Counter();
  for (const { action, size } of actions.values()) counter.add(action, size);
  const toRegistry = writer.host !== undefined;
  const [copy, fetch, compress] = [counter.of('copy'), counter.of('fetch'), counter.of('compress')];
  return {
    images: jobs.length,
    toRegistry,
    upload: counter.of('upload'),
    mount: counter.of('mount'),
    link: counter.of('link'),
    copy,
    fetch,
    compress,
    present: counter.of('present'),
    bytesNeeded: copy.bytes + fetch.bytes + passing + Math.ceil(compress.bytes * GZIP_RATIO),
    bytesFree: target.bytesFree,
  };
}

function placing(blob: VerifiedBlob, writer: ImageWriter, link: LinkMode, target: FileSystem): Action {
  if (blob.isRemote) return 'fetch';
  const links = writer.links && (link === 'auto' || link === 'hard') && blob.isFileOn(target.device);
  return links ? 'link' : 'copy';
}

/** False for what cannot be looked at, such as a link in its place: writing that image says why, and fails it alone. */
async function isHeld(
  writer: ImageWriter,
  name: Reference,
  blob: VerifiedBlob,
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
  throw new ImgconvError(
    'NO_SPACE',
    `${target}: ${sizeText(bytesNeeded)} needed, ${sizeText(bytesFree)} free`,
    {
      hint: 'nothing was written; free some space, or convert fewer images at a time',
    },
  );
}
