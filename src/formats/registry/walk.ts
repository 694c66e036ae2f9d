import { isDigest, parseDigest, type Digest } from '../../model/digest.js';
import { foldersIn, join, type Storage } from '../../storage/driver.js';
import { REPOSITORIES } from './paths.js';

/** A repository path has 255 characters at most, so half as many components. */
const MAX_DEPTH = 130;

/**
 * Repositories may be nested in one another: `a` and `a/b`. Names that begin with an underscore are the registry's
 * own. A link or a device is listed as a repository: reading it reports what it is, so that its images are not taken for deleted.
 */
export async function* repositories(root: Storage, below = '', depth = 0): AsyncGenerator<string> {
  if (depth > MAX_DEPTH) return;
  const entries = await root.list(below === '' ? REPOSITORIES : `${REPOSITORIES}/${below}`);
  const folders = entries.filter(({ kind }) => kind !== 'file');
  if (below !== '' && folders.some(({ name }) => name.startsWith('_'))) yield below;
  for (const { name, kind } of folders) {
    if (name.startsWith('_')) continue;
    if (kind === 'folder') yield* repositories(root, join(below, name), depth + 1);
    else yield join(below, name);
  }
}

/** The digests that `<folder>/<alg>/<hex>` stand for; what is called otherwise is passed over. */
export async function* digestsIn(root: Storage, folder: string): AsyncGenerator<Digest> {
  for (const algorithm of await foldersIn(root, folder)) {
    for (const { name: hex } of await root.list(`${folder}/${algorithm}`)) {
      const digest = `${algorithm}:${hex}`;
      if (isDigest(digest)) yield digest;
    }
  }
}

/** A link is shorter. */
const MAX_LINK = 256;

/** Undefined when the link is not there: a deleted tag or revision leaves its folder behind. @throws ImgconvError when it holds no digest */
export async function readLink(root: Storage, key: string): Promise<Digest | undefined> {
  const content = await root.read(key, MAX_LINK);
  if (content === undefined) return undefined;
  return linkIn(Buffer.from(content).toString('latin1'), root.nameOf(key));
}

/** The digest that a link of this content holds. @throws ImgconvError when it holds none */
export function linkIn(content: string, where: string): Digest {
  return parseDigest(content.trimEnd(), where);
}
