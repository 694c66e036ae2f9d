import { basename } from 'node:path';
import { digestOf } from '../../bytes/hash.js';
import { headOf } from '../../bytes/region.js';
import { algorithmOf, isDigest, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { membersOf } from '../../model/graph.js';
import { MAX_MANIFEST } from '../../model/json.js';
import { manifestPayload, mayName, parseManifest } from '../../model/manifest.js';
import { expectManifestSize } from '../../proof/manifest.js';
import { splitReference } from '../../model/reference.js';
import { join, type Storage } from '../../storage/driver.js';
import type { ImageReader, Signature, SourceImage, UnreadableImage } from '../format.js';
import { ListingReader } from '../listing.js';
import { dirAudit } from './audit.js';
import { blobPath, checkVersion, MANIFEST, memberPath, signaturePath, VERSION } from './paths.js';
import { walk } from './walk.js';

/** @throws ImgconvError IO for a file */
export async function openDir(tree: Storage): Promise<ImageReader> {
  const kind = (await tree.stat(''))?.kind;
  if (kind !== undefined && kind !== 'folder')
    throw new ImgconvError('IO', `${tree.name}: not a folder`, {
      hint: 'give the folder of an image or of a tree; without a prefix imgconv recognises the format',
    });
  async function* images(): AsyncGenerator<SourceImage | UnreadableImage> {
    for await (const { folder } of walk(tree)) {
      const where = tree.nameOf(folder);
      const name = folder === '' ? ownName(where) : folder;
      try {
        yield await readImage(tree, folder, name);
      } catch (error) {
        yield { name, where, error: asImgconvError(error, where) };
      }
    }
  }
  return new ListingReader(images, dirAudit(tree));
}

/** The folder's own name, when it is one that a tree would give it. */
function ownName(folder: string): string | undefined {
  const name = basename(folder);
  const { tag, digest } = splitReference(name);
  return tag === undefined && digest === undefined ? undefined : name;
}

async function readSmall(tree: Storage, key: string): Promise<Uint8Array | undefined> {
  const at = await tree.bytes(key);
  if (at === undefined) return undefined;
  expectManifestSize(at.size, at.path);
  return headOf(at, at.size);
}

export async function readImage(
  tree: Storage,
  folder: string,
  name: string | undefined,
): Promise<SourceImage> {
  const version = await readSmall(tree, join(folder, VERSION));
  if (version !== undefined)
    checkVersion(Buffer.from(version).toString('latin1'), tree.nameOf(join(folder, VERSION)));
  const own = join(folder, MANIFEST);
  const path = tree.nameOf(own);
  const bytes = await readSmall(tree, own);
  if (bytes === undefined) throw new ImgconvError('NOT_FOUND', `${path}: not there`);
  const payload = manifestPayload(bytes, path);
  const named = name === undefined ? undefined : splitReference(name).digest;
  // Nothing but a digest in its name says by which algorithm a manifest is to be called.
  const digest = digestOf(payload, named !== undefined && isDigest(named) ? algorithmOf(named) : 'sha256');
  if (named !== undefined && isDigest(named) && named !== digest)
    throw new ImgconvError(
      'DIGEST_MISMATCH',
      `${path}: the folder's name says ${named}, its digest is ${digest}`,
    );
  return {
    name,
    where: tree.nameOf(folder),
    digest,
    locate: ({ digest: wanted }, as) => {
      if (wanted === digest && as === 'manifest') return tree.bytes(own);
      return tree.bytes(as === 'manifest' ? memberPath(folder, wanted) : blobPath(folder, wanted));
    },
    provesDiffIds: false,
    signatures: await readSignatures(tree, folder, digest, bytes),
    warnings: [],
  };
}

async function readSignatures(
  tree: Storage,
  folder: string,
  digest: Digest,
  bytes: Uint8Array,
): Promise<Signature[]> {
  const where = tree.nameOf(join(folder, MANIFEST));
  const signatures: Signature[] = [];
  let bytesOfAll = 0;
  const collect = async (of: Digest, member: Digest | undefined) => {
    for (let number = 1; ; number++) {
      const signature = await readSmall(tree, signaturePath(folder, member, number));
      if (signature === undefined) return;
      if ((bytesOfAll += signature.length) > MAX_MANIFEST)
        throw new ImgconvError('MANIFEST_INVALID', `${where}: signatures of more than ${MAX_MANIFEST} bytes`);
      signatures.push({ of, bytes: signature });
    }
  };
  await collect(digest, undefined);
  const manifest = mayName(bytes, 'manifests') ? parseManifest(bytes, where) : undefined;
  for (const { digest: member } of manifest === undefined ? [] : membersOf(manifest))
    await collect(member, member);
  return signatures;
}
