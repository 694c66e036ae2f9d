import type { ImageWriter } from '../formats/format.js';
import { DigestMap } from '../model/digest-map.js';
import { ImgconvError } from '../model/errors.js';
import { manifestsOf } from '../model/tree.js';
import { sizeText } from '../model/size.js';
import type { Reference } from '../model/reference.js';
import type { LinkMode } from '../proof/linking.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import { fileSystemOf, type FileSystem } from '../storage/file-system.js';
import type { Closure } from './closure.js';
import { changedLayers } from './compression.js';
import type { Job } from './job.js';
import { Counter, type Plan } from './report.js';

/** What gzip makes of layers, roughly; running out of space later harms nothing, refusing what would fit does. */
const GZIP_RATIO = 0.5;

const ACTIONS = ['compress', 'present', 'link', 'copy', 'fetch', 'upload', 'mount'] as const;
type Action = (typeof ACTIONS)[number];
const PRESENT = ACTIONS.indexOf('present');
/** A size and an action are one number: what claims to be larger, over a petabyte, is counted as this. */
const MOST = Math.floor(Number.MAX_SAFE_INTEGER / ACTIONS.length) - 1;

/** Counts each blob once, as the run will place it. Reads nothing but sizes. */
export class Planner {
  readonly #writer: ImageWriter;
  readonly #link: LinkMode;
  #target: FileSystem | undefined;
  /** By digest, the action and the size; one image may keep a layer that another's is made of. */
  #kept = new DigestMap();
  #compressed = new DigestMap();
  /** What comes from another registry is staged on its way. */
  #passing = 0;
  #images = 0;

  constructor(writer: ImageWriter, link: LinkMode) {
    this.#writer = writer;
    this.#link = link;
  }

  async add({ name, compression }: Job, { root, blobs }: Closure): Promise<void> {
    this.#images++;
    const compressed = new Set(changedLayers(root, compression).map(({ digest }) => digest));
    const manifests = new Set(manifestsOf(root).map(({ descriptor }) => descriptor.digest));
    const known = ({ digest }: VerifiedBlob) => (compressed.has(digest) ? this.#compressed : this.#kept);
    // In a tree one image may have what another lacks: what is lacking anywhere is to be placed.
    const open = [...blobs.values()].filter((blob) => {
      const there = known(blob).get(blob.digest);
      return there === undefined || there % ACTIONS.length === PRESENT;
    });
    const actionFor = async (blob: VerifiedBlob): Promise<Action> => {
      if (compressed.has(blob.digest)) return 'compress';
      const as = manifests.has(blob.digest) ? 'manifest' : 'blob';
      if (await isHeld(this.#writer, name, blob, as)) return 'present';
      const { host } = this.#writer;
      if (host === undefined) return placing(blob, this.#writer, this.#link, this.#fileSystem);
      const isElsewhere = known(blob).has(blob.digest) || blob.holder?.host === host;
      return isElsewhere && as === 'blob' ? 'mount' : 'upload';
    };
    // Side by side: a registry takes its time for each answer.
    const found = await Promise.all(open.map(actionFor));
    for (const [i, action] of found.entries()) {
      const blob = open[i];
      if (blob === undefined) continue;
      known(blob).set(blob.digest, Math.min(blob.size, MOST) * ACTIONS.length + ACTIONS.indexOf(action));
      if (action === 'upload' && blob.isRemote) this.#passing += blob.size;
    }
  }

  get #fileSystem(): FileSystem {
    return (this.#target ??= fileSystemOf(this.#writer.staging.root));
  }

  /** After which nothing more is added. */
  plan(): Plan {
    const counter = new Counter();
    for (const map of [this.#kept, this.#compressed])
      for (const value of map.values())
        counter.add(ACTIONS[value % ACTIONS.length] ?? '', Math.floor(value / ACTIONS.length));
    this.#kept = this.#compressed = new DigestMap();
    const [copy, fetch, compress] = [counter.of('copy'), counter.of('fetch'), counter.of('compress')];
    return {
      images: this.#images,
      toRegistry: this.#writer.host !== undefined,
      upload: counter.of('upload'),
      mount: counter.of('mount'),
      link: counter.of('link'),
      copy,
      fetch,
      compress,
      present: counter.of('present'),
      bytesNeeded: copy.bytes + fetch.bytes + this.#passing + Math.ceil(compress.bytes * GZIP_RATIO),
      bytesFree: this.#fileSystem.bytesFree,
    };
  }
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
