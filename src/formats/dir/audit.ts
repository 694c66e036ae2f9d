import { basename, join } from 'node:path';
import { entriesIn } from '../../bytes/folder.js';
import { lookAt } from '../../bytes/region.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { isDigest, isHexOf } from '../../model/digest.js';
import { blobDigestsOf, manifestsOf, type ManifestNode } from '../../model/manifest.js';
import { splitReference } from '../../model/reference.js';
import { irregular, SET_ASIDE, stray, unreachable, type Audit, type Fault } from '../audit.js';
import type { SourceImage } from '../format.js';
import { storedFile } from '../heap.js';
import { blobPath, MANIFEST, memberPath, VERSION, versionText } from './paths.js';

export function dirAudit(tree: string): Audit {
  return {
    badName: 'cosmetic',
    mending: {
      root: tree,
      placeOf: ({ where, digest: own }, digest, as) => {
        if (as === 'blob') return blobPath(where, digest);
        return own === digest ? join(where, MANIFEST) : memberPath(where, digest);
      },
    },
    ofImage: (image, root) => filesOf(tree, image, root),
    ofPlace: () => withoutManifest(tree, ''),
    blobs: () => [],
  };
}

/** A blob, or a member of an index, by its name. */
function isBlobName(name: string): boolean {
  const bare = name.endsWith(`.${MANIFEST}`) ? name.slice(0, -MANIFEST.length - 1) : name;
  return isHexOf('sha256', bare) || isDigest(bare.replace('-', ':'));
}

/** Files of an image's folder that are missing, or that the image does not need. */
function* filesOf(tree: string, { where, name, digest }: SourceImage, root: ManifestNode): Generator<Fault> {
  const images = name === undefined ? [] : [name];
  const needed = new Set([VERSION, MANIFEST]);
  const digests = [digest];
  for (const { manifest } of manifestsOf(root)) {
    const members = manifest.kind === 'index' ? manifest.manifests : [];
    for (const member of members) needed.add(memberPath('', member.digest));
    const own = blobDigestsOf(manifest);
    for (const blob of own) needed.add(blobPath('', blob));
    for (const digest of own) digests.push(digest);
    for (const { digest } of members) digests.push(digest);
  }
  const version = join(where, VERSION);
  if (lookAt(version, tree) === undefined) {
    const write = { path: version, content: versionText(digests) };
    yield { severity: 'cosmetic', kind: 'file-missing', where: version, what: 'not there', images, write };
  }
  for (const entry of entriesIn(where, where === tree ? where : tree)) {
    const path = join(where, entry.name);
    if (!entry.isFile() && !entry.isDirectory()) {
      yield { ...irregular(path, entry.isSymbolicLink()), images };
      continue;
    }
    if (needed.has(entry.name) || /^(?:[\w-]+\.)?signature-[1-9][0-9]*$/.test(entry.name)) continue;
    if (where === tree && (entry.name === SET_ASIDE || entry.name.startsWith(STAGING_PREFIX))) continue;
    const file = storedFile(path, tree);
    if (file !== undefined && isBlobName(entry.name)) yield { ...unreachable(path, file.size), images };
    else yield { ...stray(path), images };
  }
}

/** What lies outside of images' folders; and folders that were an image's. */
function* withoutManifest(tree: string, below: string): Generator<Fault> {
  const folder = join(tree, below);
  if (lookAt(join(folder, MANIFEST), tree) !== undefined) return;
  const entries = entriesIn(folder, below === '' ? folder : tree);
  const files = entries.filter((entry) => !entry.isDirectory());
  const { tag, digest } = splitReference(below === '' ? basename(folder) : below);
  const isImage = files.some(({ name }) => name === VERSION || isBlobName(name));
  if (isImage || (entries.length === 0 && (tag !== undefined || digest !== undefined))) {
    const path = join(folder, MANIFEST);
    const known = digest !== undefined && isDigest(digest) ? digest : undefined;
    yield {
      severity: 'broken',
      kind: 'manifest-missing',
      where: path,
      what: 'not there: nothing tells what image it was',
      images: [below === '' ? basename(folder) : below],
      fetch: known && { path, digest: known, size: undefined, as: 'manifest' },
    };
    return;
  }
  for (const entry of files) {
    const path = join(folder, entry.name);
    // A link was told as an image that cannot be read.
    if (entry.isFile()) yield stray(path);
    else if (!entry.isSymbolicLink()) yield irregular(path, false);
  }
  for (const entry of entries) {
    if (!entry.isDirectory() || entry.name.startsWith(STAGING_PREFIX)) continue;
    if (below === '' && entry.name === SET_ASIDE) continue;
    yield* withoutManifest(tree, below === '' ? entry.name : `${below}/${entry.name}`);
  }
}
