import type { Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import type { Storage } from '../../storage/driver.js';
import type { Fault, SmallFile } from '../audit.js';
import { blobPath } from './paths.js';
import { readLink } from './walk.js';

/** After so many, all are forgotten. Images of one repository, which share most links, follow each other. */
const REMEMBERED = 16_384;

/** Links that images share, and are right, need not be read for each of them. */
export class RightLinks {
  readonly root: Storage;
  readonly #right = new Set<string>();

  constructor(root: Storage) {
    this.root = root;
  }

  /** What is wrong with a link that is to hold this digest. */
  async faultOf(key: string, digest: Digest): Promise<Fault | undefined> {
    if (this.#right.has(key)) return undefined;
    const fault = await faultOf(this.root, key, digest);
    if (this.#right.size >= REMEMBERED) this.#right.clear();
    if (fault === undefined) this.#right.add(key);
    return fault;
  }
}

/** What is wrong with a link that is to hold this digest. */
async function faultOf(root: Storage, key: string, digest: Digest): Promise<Fault | undefined> {
  const where = root.nameOf(key);
  const write: SmallFile = { key, content: digest, needs: blobPath(digest) };
  const wrong = (kind: 'link-missing' | 'link-wrong', what: string): Fault => {
    return { severity: 'cosmetic', kind, where, what, write };
  };
  try {
    const found = await readLink(root, key);
    if (found === digest) return undefined;
    return found === undefined ? wrong('link-missing', 'not there') : wrong('link-wrong', `holds ${found}`);
  } catch (error) {
    const isIo = error instanceof ImgconvError && error.code === 'IO';
    return wrong('link-wrong', isIo ? error.message.replace(`${where}: `, '') : 'holds no digest');
  }
}

/** False also where it cannot be looked at. */
export async function exists(root: Storage, key: string): Promise<boolean> {
  try {
    const stat = await root.stat(key);
    return stat !== undefined && stat.kind !== 'link';
  } catch {
    return false;
  }
}
