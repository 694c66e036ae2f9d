import { isDigest, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf } from '../../model/graph.js';
import { manifestsOf, type ManifestNode } from '../../model/tree.js';
import { isRepository, splitReference } from '../../model/reference.js';
import { allBelow, type Storage } from '../../storage/driver.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { irregular, SET_ASIDE, stray, type Audit, type Fault, type SmallFile } from '../audit.js';
import type { SourceImage } from '../format.js';
import { blobStoreAt } from './blob-store.js';
import { blobPath, layerLink, repositoryPath, revisionLink, tagIndexLink, tagLink } from './paths.js';
import { readLink } from './walk.js';

export function registryAudit(root: Storage): Audit {
  const sound = new Sound(root);
  return {
    badName: 'broken',
    mending: { storage: root, keyOf: (_, digest) => blobPath(digest) },
    async *ofImage(image, node) {
      const { name: repository } = splitReference(image.name ?? '');
      yield* linksOf(sound, repository, image, node);
    },
    async *ofPlace() {
      yield* strayIn(sound);
      yield* uploadsIn(root);
    },
    blobs: (except) => blobStoreAt(root).blobs(except),
  };
}

/** No more is remembered: the rest is looked at again. */
const REMEMBERED = 100_000;

/** What was found to be right need not be looked at once more, for another image or among all files. */
class Sound {
  readonly root: Storage;
  readonly #links = new Set<string>();
  readonly #blobs = new Set<Digest>();

  constructor(root: Storage) {
    this.root = root;
  }

  /** What is wrong with a link that is to hold this digest. */
  async faultOf(key: string, digest: Digest): Promise<Fault | undefined> {
    if (this.#links.has(key)) return undefined;
    const fault = await faultOf(this.root, key, digest);
    if (fault === undefined && this.#links.size < REMEMBERED) this.#links.add(key);
    return fault;
  }

  /** True where there is something under this digest. */
  async hasBlob(digest: Digest): Promise<boolean> {
    if (this.#blobs.has(digest)) return true;
    const isThere = await lies(this.root, blobPath(digest));
    if (isThere && this.#blobs.size < REMEMBERED) this.#blobs.add(digest);
    return isThere;
  }

  /** True where the file of this link was right, or is there. */
  async hasLink(key: string): Promise<boolean> {
    return this.#links.has(key) || lies(this.root, key);
  }
}

async function* uploadsIn(root: Storage): AsyncGenerator<Fault> {
  try {
    for await (const { path, size, changed } of blobStoreAt(root).uploads()) {
      const what = `a push that was not finished, last written to ${agoText(Date.now() - changed)} ago`;
      yield { severity: 'space', kind: 'upload', where: path, what, bytes: size };
    }
  } catch (error) {
    // A link was told among all files.
    if (!(error instanceof ImgconvError)) throw error;
  }
}

function agoText(ms: number): string {
  const hours = ms / 3_600_000;
  if (hours < 1) return `${Math.round(hours * 60)} min`;
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} days`;
}

/** The links without which a registry does not serve what an image needs. */
async function* linksOf(
  sound: Sound,
  repository: string,
  image: SourceImage,
  node: ManifestNode,
): AsyncGenerator<Fault> {
  const images = [image.name ?? ''];
  const needed = new Map<string, Digest>();
  for (const { descriptor, manifest } of manifestsOf(node)) {
    needed.set(revisionLink(repository, descriptor.digest), descriptor.digest);
    for (const digest of blobDigestsOf(manifest))
      if (await sound.hasBlob(digest)) needed.set(layerLink(repository, digest), digest);
  }
  for (const [key, digest] of needed) {
    const fault = await sound.faultOf(key, digest);
    if (fault !== undefined) yield { ...fault, severity: 'broken', images };
  }
  const { tag } = splitReference(image.name ?? '');
  if (tag === undefined) return;
  const fault = await sound.faultOf(tagIndexLink(repository, tag, image.digest), image.digest);
  if (fault !== undefined)
    yield { ...fault, what: `${fault.what}: the tag's index lacks what it names`, images };
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
async function lies(root: Storage, key: string): Promise<boolean> {
  try {
    const stat = await root.stat(key);
    return stat !== undefined && stat.kind !== 'link';
  } catch {
    return false;
  }
}

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

/** Checks every file of the storage: dangling links, invalid names, and files that are no part of the format. */
async function* strayIn(sound: Sound): AsyncGenerator<Fault> {
  const { root } = sound;
  let known = '';
  for await (const { key: name, kind } of allBelow(root, '')) {
    if (kind !== 'file') {
      yield irregular(root.nameOf(name), kind === 'link');
      continue;
    }
    const link = KINDS.layer.exec(name) ?? KINDS.revision.exec(name);
    const [, repository = '', algorithm, hex] = link ?? [];
    if (link !== null && repository !== known && !isRepository(repository))
      yield badRepository(root, repository);
    if (link !== null) known = repository;
    const entry = KINDS.index.exec(name);
    const digest =
      link === null ? `${entry?.[3] ?? ''}:${entry?.[4] ?? ''}` : `${algorithm ?? ''}:${hex ?? ''}`;
    if (link !== null || entry !== null) {
      const revision = KINDS.revision.test(name) ? [`${repository}@${digest}`] : undefined;
      if (isDigest(digest)) yield* ofLink(sound, name, digest, revision);
      else yield stray(root.nameOf(name));
      continue;
    }
    const tag = KINDS.tag.exec(name);
    if (tag !== null) yield* ofTag(sound, name, tag[1] ?? '', tag[2] ?? '');
    else if (!isExpected(name)) yield stray(root.nameOf(name));
  }
}

function isExpected(name: string): boolean {
  const [, algorithm = '', pair = '', hex = ''] = KINDS.blob.exec(name) ?? [];
  if (isDigest(`${algorithm}:${hex}`) && hex.startsWith(pair)) return true;
  return [KINDS.signature, KINDS.upload, KINDS.own].some((kind) => kind.test(name));
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

/** `images`: what a client gets by this link and no other. */
async function* ofLink(
  sound: Sound,
  key: string,
  digest: Digest,
  images: readonly string[] | undefined,
): AsyncGenerator<Fault> {
  const fault = await sound.faultOf(key, digest);
  if (fault !== undefined) yield images === undefined ? fault : { ...fault, severity: 'broken', images };
  else if (!(await sound.hasBlob(digest)))
    yield {
      severity: 'cosmetic',
      kind: 'link-dangling',
      where: sound.root.nameOf(key),
      what: 'the blob that it names is not there',
      digest,
    };
}

async function* ofTag(sound: Sound, key: string, repository: string, tag: string): AsyncGenerator<Fault> {
  const { root } = sound;
  const images = [`${repository}:${tag}`];
  try {
    const digest = await readLink(root, key);
    if (digest === undefined || tagLink(repository, tag) !== key) return;
    const revision = revisionLink(repository, digest);
    if (await sound.hasLink(revision)) return;
    yield {
      severity: 'broken',
      kind: 'link-missing',
      where: root.nameOf(revision),
      what: 'not there: registries take the manifest that the tag names for deleted',
      images,
      write: { key: revision, content: digest, needs: blobPath(digest) },
    };
  } catch {
    // The image is listed as one that cannot be read.
  }
}
