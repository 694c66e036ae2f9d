import type { TreeFile } from '../../bytes/tree.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { DigestSet } from '../../model/digest-map.js';
import { asImgconvError, type ImgconvError } from '../../model/errors.js';
import { isRepository } from '../../model/reference.js';
import type { Storage } from '../../storage/driver.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { irregular, SET_ASIDE, stray, type Fault } from '../audit.js';
import { exists, type RightLinks } from './links.js';
import { blobPath, REPOSITORIES, repositoryPath, revisionLink, tagLink } from './paths.js';
import { linkIn, readLink } from './walk.js';

const LINK = String.raw`(\w+)/([0-9a-f]+)/link$`;
const KINDS = {
  blob: /^blobs\/(\w+)\/(..)\/([0-9a-f]+)\/data$/,
  layer: new RegExp(`^repositories/(.+)/_layers/${LINK}`),
  revision: new RegExp(`^repositories/(.+)/_manifests/revisions/${LINK}`),
  index: new RegExp(`^repositories/(.+)/_manifests/tags/([^/]+)/index/${LINK}`),
  tag: /^repositories\/(.+)\/_manifests\/tags\/([^/]+)\/current\/link$/,
  /** Registries before 2.3 kept the signatures of schema 1. */
  signature: /^repositories\/.+\/_manifests\/revisions\/\w+\/[0-9a-f]+\/signatures\//,
  upload: /^repositories\/.+\/_uploads\//,
  own: new RegExp(`^(?:${STAGING_PREFIX.replace('.', '\\.')}|\\${SET_ASIDE}/)`),
} as const;

interface Found {
  readonly faults: readonly Fault[];
  /** Why not every file could be looked at. */
  readonly failure?: ImgconvError;
}

/**
 * Checks every file of the storage: dangling links, invalid names, and files that are no part of the format. Folders
 * come in the order of their names, so that blobs are known before links to them, and revisions before tags.
 */
export class Strays {
  /** What was found, once every file was looked at. */
  readonly found: Promise<Found>;
  /** The size of all blobs, as far as the files tell theirs. */
  readonly bytes: Promise<number>;
  readonly #root: Storage;
  readonly #links: RightLinks;
  readonly #blobs = new DigestSet();
  #blobBytes = 0;
  #allBlobs: (bytes: number) => void = () => undefined;
  #repository = '';
  /** Revisions of `#repository`. */
  readonly #revisions = new Set<Digest>();

  constructor(links: RightLinks, files: AsyncIterable<TreeFile>) {
    this.#root = links.root;
    this.#links = links;
    this.bytes = new Promise((resolve) => {
      this.#allBlobs = resolve;
    });
    this.found = this.#all(files);
  }

  async #all(files: AsyncIterable<TreeFile>): Promise<Found> {
    const faults: Fault[] = [];
    try {
      for await (const file of files) {
        if (file.key.startsWith(REPOSITORIES)) this.#allBlobs(this.#blobBytes);
        if (file.kind !== 'file') faults.push(irregular(this.#root.nameOf(file.key), file.kind === 'link'));
        else if (!this.#isBlob(file)) for await (const fault of this.#ofFile(file)) faults.push(fault);
      }
      return { faults };
    } catch (error) {
      return { faults, failure: asImgconvError(error, this.#root.name) };
    } finally {
      this.#allBlobs(this.#blobBytes);
    }
  }

  /** True for a blob, which is then remembered. */
  #isBlob({ key, size = 0 }: TreeFile): boolean {
    const [, algorithm = '', pair = '', hex = ''] = KINDS.blob.exec(key) ?? [];
    const digest = `${algorithm}:${hex}`;
    if (!isDigest(digest) || !hex.startsWith(pair)) return false;
    this.#blobs.add(digest);
    this.#blobBytes += size;
    return true;
  }

  async *#ofFile(file: TreeFile): AsyncGenerator<Fault> {
    const { key } = file;
    const revision = KINDS.revision.exec(key);
    const link = revision ?? KINDS.layer.exec(key);
    if (link !== null) {
      const [, repository = '', algorithm = '', hex = ''] = link;
      if (repository !== this.#repository) {
        this.#revisions.clear();
        if (!isRepository(repository)) yield badRepository(this.#root, repository);
      }
      this.#repository = repository;
      yield* this.#ofLink(file, `${algorithm}:${hex}`, revision === null ? undefined : repository);
      return;
    }
    const [, , , algorithm = '', hex] = KINDS.index.exec(key) ?? [];
    if (hex !== undefined) {
      yield* this.#ofLink(file, `${algorithm}:${hex}`);
      return;
    }
    const [, repository = '', tag] = KINDS.tag.exec(key) ?? [];
    if (tag !== undefined) yield* this.#ofTag(file, repository, tag);
    else if (![KINDS.signature, KINDS.upload, KINDS.own].some((kind) => kind.test(key)))
      yield stray(this.#root.nameOf(key));
  }

  /** `repository`: for a revision, that a client gets by this link and no other. */
  async *#ofLink({ key, content }: TreeFile, digest: string, repository?: string): AsyncGenerator<Fault> {
    const where = this.#root.nameOf(key);
    if (!isDigest(digest)) {
      yield stray(where);
      return;
    }
    const fault = content?.trimEnd() === digest ? undefined : await this.#links.faultOf(key, digest);
    if (fault !== undefined) {
      const images = repository === undefined ? undefined : [`${repository}@${digest}`];
      yield images === undefined ? fault : { ...fault, severity: 'broken', images };
      return;
    }
    if (repository !== undefined) this.#revisions.add(digest);
    if (this.#blobs.has(digest) || (await exists(this.#root, blobPath(digest)))) return;
    const what = 'the blob that it names is not there';
    yield { severity: 'cosmetic', kind: 'link-dangling', where, what, digest };
  }

  async *#ofTag({ key, content }: TreeFile, repository: string, tag: string): AsyncGenerator<Fault> {
    const where = this.#root.nameOf(key);
    try {
      const digest = content === undefined ? await readLink(this.#root, key) : linkIn(content, where);
      if (digest === undefined || tagLink(repository, tag) !== key) return;
      const revision = revisionLink(repository, digest);
      const isKnown = repository === this.#repository && this.#revisions.has(digest);
      if (isKnown || (await exists(this.#root, revision))) return;
      yield {
        severity: 'broken',
        kind: 'link-missing',
        where: this.#root.nameOf(revision),
        what: 'not there: registries take the manifest that the tag names for deleted',
        images: [`${repository}:${tag}`],
        write: { key: revision, content: digest, needs: blobPath(digest) },
      };
    } catch {
      // The image is listed as one that cannot be read.
    }
  }
}

function badRepository(root: Storage, repository: string): Fault {
  const where = root.nameOf(repositoryPath(repository));
  return {
    severity: 'broken',
    kind: 'name-invalid',
    where,
    what: 'no repository path: no client can ask for it, and registries refuse to collect garbage beside it',
    images: [repository],
  };
}
