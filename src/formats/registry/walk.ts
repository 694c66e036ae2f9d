import { join } from 'node:path';
import { entriesIn, foldersIn, namesIn } from '../../bytes/folder.js';
import { closeFile, openRegular, readFully } from '../../bytes/region.js';
import { isDigest, parseDigest, type Digest } from '../../model/digest.js';
import { isErrno } from '../../model/errors.js';
import { repositoriesPath } from './paths.js';

/** A repository path has 255 characters at most, so half as many components. */
const MAX_DEPTH = 130;

/**
 * Repositories may be nested in one another: `a` and `a/b`. Names with an underscore first are the registry's own. A link
 * or a device is taken for one, so that looking into it says what it is: what it stands for is not taken for deleted.
 */
export function* repositories(root: string, below = '', depth = 0): Generator<string> {
  if (depth > MAX_DEPTH) return;
  const folder = join(repositoriesPath(root), below);
  // What lies deeper was seen to be a folder as its own was listed.
  const entries = entriesIn(folder, below === '' ? root : folder);
  const folders = entries.filter((entry) => !entry.isFile());
  if (below !== '' && folders.some(({ name }) => name.startsWith('_'))) yield below;
  for (const entry of folders) {
    if (entry.name.startsWith('_')) continue;
    const name = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) yield* repositories(root, name, depth + 1);
    else yield name;
  }
}

/** The digests that `<folder>/<alg>/<hex>` stand for; what is called otherwise is passed over. */
export function* digestsIn(folder: string, root: string): Generator<Digest> {
  for (const algorithm of foldersIn(folder, root)) {
    const digests = join(folder, algorithm);
    for (const hex of namesIn(digests, digests)) {
      const digest = `${algorithm}:${hex}`;
      if (isDigest(digest)) yield digest;
    }
  }
}

const link = Buffer.alloc(256);

/** @throws ImgconvError when the link is missing or holds no digest */
export function readLink(path: string, root: string): Digest {
  const { fd } = openRegular(path, root);
  try {
    return parseDigest(link.toString('latin1', 0, readFully(fd, link, 0, path)).trimEnd(), path);
  } finally {
    closeFile(fd, path);
  }
}

/** True when a link is not there: a deleted tag or revision leaves its folder behind. */
export function isAbsent(error: unknown): boolean {
  return isErrno(error instanceof Error && 'cause' in error ? error.cause : error, 'ENOENT');
}
