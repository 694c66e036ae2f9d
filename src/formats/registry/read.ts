import type { LocalBytes } from '../../bytes/region.js';
import { isAttachedTag } from '../../model/attached.js';
import type { Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { choiceOf, isGlob, repositoryKey, splitReference } from '../../model/reference.js';
import type { Storage } from '../../storage/driver.js';
import type { ImageReader, ListOptions, Located, SourceImage, UnreadableImage } from '../format.js';
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

/** What is asked for of one repository: its tags, each by its name, or any image. */
type Asked = ReadonlySet<string> | 'any';

/** A name without a glob can only mean an image of its own repository; stores leave hosts out. */
function repositoryFilter(wanted: ListOptions['wanted']): (repository: string) => Asked | undefined {
  if (wanted === undefined || wanted.some((text) => isGlob(text) || choiceOf(text) !== undefined))
    return () => 'any';
  const asked = new Map<string, Set<string> | 'any'>();
  for (const text of wanted) {
    const [key, { tag, digest }] = [repositoryKey(text), splitReference(text)];
    const tags = asked.get(key) ?? new Set();
    // A digest may be that of any tag, if only for a message.
    if (tags === 'any' || digest !== undefined) asked.set(key, 'any');
    else asked.set(key, tags.add(tag ?? 'latest'));
  }
  return (repository) => asked.get(repositoryKey(repository));
}

async function* images(
  root: Storage,
  { untagged, wanted }: ListOptions,
): AsyncGenerator<SourceImage | UnreadableImage> {
  const askedOf = repositoryFilter(wanted);
  for await (const repository of repositories(root)) {
    const asked = askedOf(repository);
    if (asked === undefined) continue;
    try {
      for (const tag of await tagsOf(root, repository, asked)) {
        const image = await imageAt(root, repository, { tag });
        if (image !== undefined) yield image;
      }
      if (untagged) yield* revisions(root, repository);
    } catch (error) {
      const where = root.nameOf(repositoryPath(repository));
      yield { name: repository, where, error: asImgconvError(error, where) };
    }
  }
}

/**
 * The tags that are asked for, and those of what may be attached to them. All tags, where one that is asked for is not
 * there: a message then says which names are like it.
 */
async function tagsOf(root: Storage, repository: string, asked: Asked): Promise<readonly string[]> {
  const all = (await root.list(tagsPath(repository))).map(({ name }) => name);
  if (asked === 'any') return all;
  const some = all.filter((tag) => asked.has(tag) || isAttachedTag(tag));
  return some.filter((tag) => asked.has(tag)).length === asked.size ? some : all;
}

async function* revisions(root: Storage, repository: string): AsyncGenerator<SourceImage | UnreadableImage> {
  for await (const digest of digestsIn(root, revisionsPath(repository))) {
    const image = await imageAt(root, repository, { revision: digest });
    if (image !== undefined) yield image;
  }
}

const NONE: readonly never[] = [];

/** A tag or a revision: with a hundred thousand of them in a list, what can be told from little is not held. */
class RegistryImage implements SourceImage {
  readonly digest: Digest;
  readonly #root: Storage;
  readonly #repository: string;
  readonly #tag: string | undefined;

  /** Without a `tag` it is a revision. */
  constructor(root: Storage, repository: string, tag: string | undefined, digest: Digest) {
    this.#root = root;
    this.#repository = repository;
    this.#tag = tag;
    this.digest = digest;
  }

  get untagged(): boolean {
    return this.#tag === undefined;
  }

  get provesDiffIds(): boolean {
    return false;
  }

  get signatures(): readonly never[] {
    return NONE;
  }

  get warnings(): readonly never[] {
    return NONE;
  }

  get #linked(): Linked {
    return this.#tag === undefined ? { revision: this.digest } : { tag: this.#tag };
  }

  get name(): string {
    return nameOf(this.#repository, this.#linked);
  }

  get where(): string {
    return this.#root.nameOf(linkOf(this.#repository, this.#linked));
  }

  async locate({ digest }: Located, as: 'manifest' | 'blob'): Promise<LocalBytes | undefined> {
    // A registry deletes a manifest by its revision link, and then no longer serves what tags still name.
    const isDeleted =
      as === 'manifest' &&
      digest === this.digest &&
      (await this.#root.bytes(revisionLink(this.#repository, digest))) === undefined;
    return isDeleted ? undefined : this.#root.bytes(blobPath(digest));
  }
}

/** What a link is of: a tag, or a revision. */
type Linked = { readonly tag: string } | { readonly revision: Digest };

function nameOf(repository: string, linked: Linked): string {
  return 'tag' in linked ? `${repository}:${linked.tag}` : `${repository}@${linked.revision}`;
}

function linkOf(repository: string, linked: Linked): string {
  return 'tag' in linked ? tagLink(repository, linked.tag) : revisionLink(repository, linked.revision);
}

/** Undefined where a deleted tag or revision left its folder behind. */
async function imageAt(
  root: Storage,
  repository: string,
  linked: Linked,
): Promise<SourceImage | UnreadableImage | undefined> {
  const key = linkOf(repository, linked);
  const unreadable = (error: unknown) => {
    const [name, where] = [nameOf(repository, linked), root.nameOf(key)];
    const isRevision = 'revision' in linked && { untagged: true };
    return { name, where, ...isRevision, error: asImgconvError(error, where) };
  };
  try {
    const digest = await readLink(root, key);
    if (digest === undefined) return undefined;
    if ('tag' in linked) return new RegistryImage(root, repository, linked.tag, digest);
    if (digest === linked.revision) return new RegistryImage(root, repository, undefined, digest);
    const what = `${root.nameOf(key)}: says ${digest}, and lies where ${linked.revision} belongs`;
    return unreadable(new ImgconvError('DIGEST_MISMATCH', what));
  } catch (error) {
    return unreadable(error);
  }
}
