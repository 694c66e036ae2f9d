import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { choiceOf, isGlob, repositoryKey } from '../../model/reference.js';
import type { Storage } from '../../storage/driver.js';
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
import { digestsIn, readLink, repositories } from './walk.js';

export async function openRegistry(storage: Storage): Promise<ImageReader> {
  const root = await rootOf(storage);
  if (!(await isRoot(root))) {
    throw new ImgconvError(
      'FORMAT_UNKNOWN',
      `${storage.name}: no registry storage: there is no docker/registry/v2/repositories`,
      {
        hint: 'give the folder that holds docker/, as a registry has it for its rootdirectory',
      },
    );
  }
  return new ListingReader((options) => images(root, options), registryAudit(root));
}

/** A name without a glob can only mean an image of its own repository; stores leave hosts out. */
function repositoryFilter(wanted: ListOptions['wanted']): (repository: string) => boolean {
  if (wanted === undefined || wanted.some((text) => isGlob(text) || choiceOf(text) !== undefined))
    return () => true;
  const keys = new Set(wanted.map(repositoryKey));
  return (repository) => keys.has(repositoryKey(repository));
}

async function* images(
  root: Storage,
  { untagged, wanted }: ListOptions,
): AsyncGenerator<SourceImage | UnreadableImage> {
  const isWanted = repositoryFilter(wanted);
  for await (const repository of repositories(root)) {
    if (!isWanted(repository)) continue;
    try {
      for (const { name: tag } of await root.list(tagsPath(repository))) {
        const image = await imageAt(root, repository, `:${tag}`, tagLink(repository, tag));
        if (image !== undefined) yield image;
      }
      if (untagged) yield* revisions(root, repository);
    } catch (error) {
      const where = root.nameOf(repositoryPath(repository));
      yield { name: repository, where, error: asImgconvError(error, where) };
    }
  }
}

async function* revisions(root: Storage, repository: string): AsyncGenerator<SourceImage | UnreadableImage> {
  for await (const digest of digestsIn(root, revisionsPath(repository))) {
    const image = await imageAt(root, repository, `@${digest}`, revisionLink(repository, digest));
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
async function imageAt(
  root: Storage,
  repository: string,
  suffix: string,
  key: string,
): Promise<SourceImage | UnreadableImage | undefined> {
  const name = `${repository}${suffix}`;
  const where = root.nameOf(key);
  try {
    const digest = await readLink(root, key);
    if (digest === undefined) return undefined;
    return {
      name,
      where,
      digest,
      locate: async ({ digest: wanted }, as) => {
        // A registry deletes a manifest by its revision link, and then no longer serves what tags still name.
        const isDeleted =
          as === 'manifest' &&
          wanted === digest &&
          (await root.bytes(revisionLink(repository, digest))) === undefined;
        return isDeleted ? undefined : root.bytes(blobPath(wanted));
      },
      provesDiffIds: false,
      signatures: [],
      warnings: [],
    };
  } catch (error) {
    return { name, where, error: asImgconvError(error, where) };
  }
}
