import { namesIn } from '../../bytes/folder.js';
import { isThere, wholeFile } from '../../bytes/region.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { choiceOf, isGlob, repositoryKey } from '../../model/reference.js';
import type { ImageReader, ListOptions, SourceImage, UnreadableImage } from '../format.js';
import { ListingReader } from '../listing.js';
import { registryAudit } from './audit.js';
import {
  blobPath,
  isRoot,
  repositoryPath,
  revisionLink,
  revisionsPath,
  rootOf,
  tagLink,
  tagsPath,
} from './paths.js';
import { digestsIn, isAbsent, readLink, repositories } from './walk.js';

export function openRegistry(path: string): Promise<ImageReader> {
  const root = rootOf(path);
  if (!isRoot(root)) {
    throw new ImgconvError(
      'FORMAT_UNKNOWN',
      `${path}: no registry storage: there is no docker/registry/v2/repositories`,
      {
        hint: 'give the folder that holds docker/, as a registry has it for its rootdirectory',
      },
    );
  }
  return Promise.resolve(new ListingReader((options) => images(root, options), registryAudit(root)));
}

/** A name without a glob can only mean an image of its own repository; stores leave hosts out. */
function repositoryFilter(wanted: ListOptions['wanted']): (repository: string) => boolean {
  if (wanted === undefined || wanted.some((text) => isGlob(text) || choiceOf(text) !== undefined))
    return () => true;
  const keys = new Set(wanted.map(repositoryKey));
  return (repository) => keys.has(repositoryKey(repository));
}

async function* images(
  root: string,
  { untagged, wanted }: ListOptions,
): AsyncGenerator<SourceImage | UnreadableImage> {
  const isWanted = repositoryFilter(wanted);
  for (const repository of repositories(root)) {
    if (!isWanted(repository)) continue;
    try {
      for (const tag of namesIn(tagsPath(root, repository), root)) {
        await Promise.resolve();
        const image = imageAt(root, repository, `:${tag}`, tagLink(root, repository, tag));
        if (image === undefined) continue;
        yield image;
      }
      if (untagged) yield* revisions(root, repository);
    } catch (error) {
      const where = repositoryPath(root, repository);
      yield { name: repository, where, error: asImgconvError(error, where) };
    }
  }
}

function* revisions(root: string, repository: string): Generator<SourceImage | UnreadableImage> {
  for (const digest of digestsIn(revisionsPath(root, repository), root)) {
    const image = imageAt(root, repository, `@${digest}`, revisionLink(root, repository, digest));
    if (image === undefined) continue;
    if ('error' in image || image.digest === digest) yield { ...image, untagged: true };
    else {
      const what = `${image.where}: says ${image.digest}, and lies where ${digest} belongs`;
      const error = new ImgconvError('DIGEST_MISMATCH', what);
      yield { name: image.name, where: image.where, untagged: true, error };
    }
  }
}

/** Undefined where a deleted tag or revision left its folder behind. */
function imageAt(
  root: string,
  repository: string,
  suffix: string,
  path: string,
): SourceImage | UnreadableImage | undefined {
  const name = `${repository}${suffix}`;
  try {
    const digest = readLink(path, root);
    return {
      name,
      where: path,
      digest,
      locate: ({ digest: wanted }, as) => {
        // A registry deletes a manifest by its revision link, and then no longer serves what tags still name.
        const deleted =
          as === 'manifest' && wanted === digest && !isThere(revisionLink(root, repository, digest), root);
        return deleted ? undefined : wholeFile(blobPath(root, wanted), root);
      },
      provesDiffIds: false,
      signatures: [],
      warnings: [],
    };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    return { name, where: path, error: asImgconvError(error, path) };
  }
}
