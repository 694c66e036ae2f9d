import { basename } from 'node:path';
import { join, keyOf, storedFile, type Storage } from '../../storage/driver.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { isDigest, isHexOf } from '../../model/digest.js';
import { blobDigestsOf, membersOf } from '../../model/graph.js';
import { manifestsOf, type ManifestNode } from '../../model/tree.js';
import { splitReference } from '../../model/reference.js';
import { irregular, SET_ASIDE, stray, unreachable, type Audit, type Fault } from '../audit.js';
import type { SourceImage } from '../format.js';
import { blobPath, MANIFEST, memberPath, VERSION, versionText } from './paths.js';

export function dirAudit(tree: Storage): Audit {
  return {
    badName: 'cosmetic',
    mending: {
      storage: tree,
      keyOf: ({ where, digest: own }, digest, as) => {
        const folder = keyOf(tree, where);
        if (as === 'blob') return blobPath(folder, digest);
        return own === digest ? join(folder, MANIFEST) : memberPath(folder, digest);
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
async function* filesOf(
  tree: Storage,
  { where: place, name, digest }: SourceImage,
  root: ManifestNode,
): AsyncGenerator<Fault> {
  const folder = keyOf(tree, place);
  const images = name === undefined ? [] : [name];
  const needed = new Set([VERSION, MANIFEST]);
  const digests = [digest];
  for (const { manifest } of manifestsOf(root)) {
    const members = membersOf(manifest);
    for (const member of members) needed.add(memberPath('', member.digest));
    const own = blobDigestsOf(manifest);
    for (const blob of own) needed.add(blobPath('', blob));
    for (const digest of own) digests.push(digest);
    for (const { digest } of members) digests.push(digest);
  }
  const version = join(folder, VERSION);
  if ((await tree.stat(version)) === undefined) {
    const [where, write] = [tree.nameOf(version), { key: version, content: versionText(digests) }];
    yield { severity: 'cosmetic', kind: 'file-missing', where, what: 'not there', images, write };
  }
  for (const entry of await tree.list(folder)) {
    const key = join(folder, entry.name);
    const path = tree.nameOf(key);
    if (entry.kind === 'link' || entry.kind === 'other') {
      yield { ...irregular(path, entry.kind === 'link'), images };
      continue;
    }
    if (needed.has(entry.name) || /^(?:[\w-]+\.)?signature-[1-9][0-9]*$/.test(entry.name)) continue;
    if (folder === '' && (entry.name === SET_ASIDE || entry.name.startsWith(STAGING_PREFIX))) continue;
    const file = await storedFile(tree, key);
    if (file !== undefined && isBlobName(entry.name)) yield { ...unreachable(path, file.size), images };
    else yield { ...stray(path), images };
  }
}

/** What lies outside of images' folders; and folders that were an image's. */
async function* withoutManifest(tree: Storage, folder: string): AsyncGenerator<Fault> {
  const own = join(folder, MANIFEST);
  if ((await tree.stat(own)) !== undefined) return;
  const entries = await tree.list(folder);
  const files = entries.filter(({ kind }) => kind !== 'folder');
  const name = folder === '' ? basename(tree.name) : folder;
  const { tag, digest } = splitReference(name);
  const isImage = files.some((file) => file.name === VERSION || isBlobName(file.name));
  if (isImage || (entries.length === 0 && (tag !== undefined || digest !== undefined))) {
    const path = tree.nameOf(own);
    const known = digest !== undefined && isDigest(digest) ? digest : undefined;
    yield {
      severity: 'broken',
      kind: 'manifest-missing',
      where: path,
      what: 'not there: nothing tells what image it was',
      images: [name],
      fetch: known && { key: own, path, digest: known, size: undefined, as: 'manifest' },
    };
    return;
  }
  for (const entry of files) {
    const path = tree.nameOf(join(folder, entry.name));
    // A link was told as an image that cannot be read.
    if (entry.kind === 'file') yield stray(path);
    else if (entry.kind !== 'link') yield irregular(path, false);
  }
  for (const entry of entries) {
    if (entry.kind !== 'folder' || entry.name.startsWith(STAGING_PREFIX)) continue;
    if (folder === '' && entry.name === SET_ASIDE) continue;
    yield* withoutManifest(tree, join(folder, entry.name));
  }
}
