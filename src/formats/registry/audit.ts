import { join, relative } from 'node:path';
import { isThere } from '../../bytes/region.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf, manifestsOf, type ManifestNode } from '../../model/manifest.js';
import { isRepository, splitReference } from '../../model/reference.js';
import { irregular, SET_ASIDE, stray, type Audit, type Fault, type SmallFile } from '../audit.js';
import type { SourceImage } from '../format.js';
import { allBelow } from '../heap.js';
import { registryHeap } from './heap.js';
import { blobPath, layerLink, repositoriesPath, revisionLink, tagIndexLink, tagLink } from './paths.js';
import { isAbsent, readLink } from './walk.js';

export function registryAudit(root: string): Audit {
  /** Links of the repository at hand that were found to be right. */
  let sound = { repository: '', links: new Set<string>() };
  return {
    badName: 'broken',
    mending: { root, placeOf: (_, digest) => blobPath(root, digest) },
    *ofImage(image, node) {
      const { name: repository } = splitReference(image.name ?? '');
      if (sound.repository !== repository) sound = { repository, links: new Set() };
      yield* linksOf(root, repository, image, node, sound.links);
    },
    async *ofPlace() {
      yield* strayIn(root);
      yield* uploadsIn(root);
    },
    blobs: () => registryHeap(root).blobs(),
  };
}

async function* uploadsIn(root: string): AsyncGenerator<Fault> {
  try {
    for await (const { path, size, changed } of registryHeap(root).uploads()) {
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
function* linksOf(
  root: string,
  repository: string,
  image: SourceImage,
  node: ManifestNode,
  sound: Set<string>,
): Generator<Fault> {
  const images = [image.name ?? ''];
  const needed = new Map<string, Digest>();
  for (const { descriptor, manifest } of manifestsOf(node)) {
    needed.set(revisionLink(root, repository, descriptor.digest), descriptor.digest);
    for (const digest of blobDigestsOf(manifest))
      if (lies(blobPath(root, digest), root)) needed.set(layerLink(root, repository, digest), digest);
  }
  for (const [path, digest] of needed) {
    if (sound.has(path)) continue;
    const fault = faultOf(path, digest, root);
    if (fault === undefined) sound.add(path);
    else yield { ...fault, severity: 'broken', images };
  }
  const { tag } = splitReference(image.name ?? '');
  if (tag === undefined) return;
  const path = tagIndexLink(root, repository, tag, image.digest);
  const fault = faultOf(path, image.digest, root);
  if (fault !== undefined)
    yield { ...fault, what: `${fault.what}: the tag's index lacks what it names`, images };
}

/** What is wrong with a link that is to hold this digest. */
function faultOf(path: string, digest: Digest, root: string): Fault | undefined {
  const write: SmallFile = { path, content: digest, needs: blobPath(root, digest) };
  try {
    const found = readLink(path, root);
    if (found === digest) return undefined;
    return { severity: 'cosmetic', kind: 'link-wrong', where: path, what: `holds ${found}`, write };
  } catch (error) {
    const kind = isAbsent(error) ? 'link-missing' : 'link-wrong';
    const isIo = kind === 'link-wrong' && error instanceof ImgconvError && error.code === 'IO';
    const what = kind === 'link-missing' ? 'not there' : isIo ? 'cannot be read' : 'holds no digest';
    return { severity: 'cosmetic', kind, where: path, what, write };
  }
}

/** False also where it cannot be looked at. */
function lies(path: string, root: string): boolean {
  try {
    return isThere(path, root);
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

/** Every file of the storage: links that no image needs, names that nobody can ask for, and what has no place there. */
function* strayIn(root: string): Generator<Fault> {
  let known = '';
  for (const { path, file, isLink } of allBelow(root, root)) {
    if (file === undefined) {
      yield irregular(path, isLink);
      continue;
    }
    const name = relative(root, path);
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
      if (isDigest(digest)) yield* ofLink(root, path, digest, revision);
      else yield stray(path);
      continue;
    }
    const tag = KINDS.tag.exec(name);
    if (tag !== null) yield* ofTag(root, path, tag[1] ?? '', tag[2] ?? '');
    else if (!isExpected(name)) yield stray(path);
  }
}

function isExpected(name: string): boolean {
  const [, algorithm = '', pair = '', hex = ''] = KINDS.blob.exec(name) ?? [];
  if (isDigest(`${algorithm}:${hex}`) && hex.startsWith(pair)) return true;
  return [KINDS.signature, KINDS.upload, KINDS.own].some((kind) => kind.test(name));
}

function badRepository(root: string, repository: string): Fault {
  const where = join(repositoriesPath(root), repository);
  return {
    severity: 'broken',
    kind: 'name-invalid',
    where,
    what: 'no repository path: no client can ask for it, and registries refuse to collect garbage beside it',
    images: [repository],
  };
}

/** `images`: what a client gets by this link and no other. */
function* ofLink(
  root: string,
  path: string,
  digest: Digest,
  images: readonly string[] | undefined,
): Generator<Fault> {
  const fault = faultOf(path, digest, root);
  if (fault !== undefined) yield images === undefined ? fault : { ...fault, severity: 'broken', images };
  else if (!lies(blobPath(root, digest), root))
    yield {
      severity: 'cosmetic',
      kind: 'link-dangling',
      where: path,
      what: 'the blob that it names is not there',
      digest,
    };
}

function* ofTag(root: string, path: string, repository: string, tag: string): Generator<Fault> {
  const images = [`${repository}:${tag}`];
  try {
    const digest = readLink(path, root);
    const revision = revisionLink(root, repository, digest);
    if (tagLink(root, repository, tag) !== path || lies(revision, root)) return;
    yield {
      severity: 'broken',
      kind: 'link-missing',
      where: revision,
      what: 'not there: registries take the manifest that the tag names for deleted',
      images,
      write: { path: revision, content: digest, needs: blobPath(root, digest) },
    };
  } catch {
    // The image is listed as one that cannot be read.
  }
}
