import type { Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf } from '../../model/graph.js';
import { splitReference } from '../../model/reference.js';
import { manifestsOf, type ManifestNode } from '../../model/tree.js';
import { allBelowByThread, type Storage } from '../../storage/driver.js';
import type { Audit, Fault } from '../audit.js';
import type { SourceImage } from '../format.js';
import { blobStoreAt } from './blob-store.js';
import { RightLinks } from './links.js';
import { blobPath, layerLink, LINK_NAME, revisionLink, tagIndexLink } from './paths.js';
import { Strays } from './strays.js';

export function registryAudit(root: Storage): Audit {
  const links = new RightLinks(root);
  let strays: Strays | undefined;
  return {
    badName: 'broken',
    mending: { storage: root, keyOf: (_, digest) => blobPath(digest) },
    begin: (pool) => {
      strays = new Strays(links, allBelowByThread(root, '', pool, { document: LINK_NAME, sizes: true }));
    },
    async *ofImage(image, node, there) {
      const { name: repository } = splitReference(image.name ?? '');
      yield* linksOf(links, repository, image, node, there);
    },
    async *ofPlace() {
      if (strays === undefined) throw new TypeError('begin is called before ofPlace');
      const { faults, failure } = await strays.found;
      yield* faults;
      if (failure !== undefined) throw failure;
      yield* uploadsIn(root);
    },
    blobs: (except) => blobStoreAt(root).blobs(except),
    bytes: () => strays?.bytes ?? Promise.resolve(0),
  };
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
  links: RightLinks,
  repository: string,
  image: SourceImage,
  node: ManifestNode,
  there: ReadonlySet<Digest>,
): AsyncGenerator<Fault> {
  const images = [image.name ?? ''];
  const needed = new Map<string, Digest>();
  for (const { descriptor, manifest } of manifestsOf(node)) {
    needed.set(revisionLink(repository, descriptor.digest), descriptor.digest);
    for (const digest of blobDigestsOf(manifest))
      if (there.has(digest)) needed.set(layerLink(repository, digest), digest);
  }
  for (const [key, digest] of needed) {
    const fault = await links.faultOf(key, digest);
    if (fault !== undefined) yield { ...fault, severity: 'broken', images };
  }
  const { tag } = splitReference(image.name ?? '');
  if (tag === undefined) return;
  const fault = await links.faultOf(tagIndexLink(repository, tag, image.digest), image.digest);
  if (fault !== undefined)
    yield { ...fault, what: `${fault.what}: the tag's index lacks what it names`, images };
}
