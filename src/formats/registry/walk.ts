import { join } from 'node:path';
import { entriesIn, namesIn } from '../../io/folder.js';
import { closeFile, openRegular, readFully } from '../../io/region.js';
import { isDigest, parseDigest, type Digest } from '../../model/digest.js';
import { isErrno } from '../../model/errors.js';
import { repositoriesPath } from './paths.js';

/** A repository path has 255 characters at most, so half as many components. */
const MAX_DEPTH = 130;

/** Repositories may be nested in one another: `a` and `a/b`. Names with an underscore first are the registry's own. */
export function* repositories(root: string, below = '', depth = 0): Generator<string> {
  if (depth > MAX_DEPTH) return;
  const folders = entriesIn(join(repositoriesPath(root), below)).filter((entry) => entry.isDirectory());
  if (below !== '' && folders.some(({ name }) => name.startsWith('_'))) yield below;
  for (const { name } of folders)
    if (!name.startsWith('_')) yield* repositories(root, below === '' ? name : `${below}/${name}`, depth + 1);
}

/** The digests that `<folder>/<alg>/<hex>` stand for; what is called otherwise is passed over. */
export function* digestsIn(folder: string): Generator<Digest> {
  for (const algorithm of namesIn(folder)) {
    for (const hex of namesIn(join(folder, algorithm))) {
      const digest = `${algorithm}:${hex}`;
      if (isDigest(digest)) yield digest;
    }
  }
}

const link = Buffer.alloc(256);

/** @throws ImgconvError when the link is missing or holds no digest */
export function readLink(path: string): Digest {
  const { fd } = openRegular(path);
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
