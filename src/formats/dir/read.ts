import { basename, join } from 'node:path';
import { digestOf } from '../../bytes/hash.js';
import { headOf, wholeFile } from '../../bytes/region.js';
import { algorithmOf, isDigest, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { MAX_MANIFEST } from '../../model/json.js';
import { manifestPayload, mayName, parseManifest } from '../../model/manifest.js';
import { splitReference } from '../../model/reference.js';
import type { ImageReader, Signature, SourceImage, UnreadableImage } from '../format.js';
import { ListingReader } from '../listing.js';
import { dirAudit } from './audit.js';
import { below, blobPath, checkVersion, MANIFEST, memberPath, signaturePath, VERSION } from './paths.js';
import { walk } from './walk.js';

export function openDir(tree: string): Promise<ImageReader> {
  async function* images(): AsyncGenerator<SourceImage | UnreadableImage> {
    for (const { place } of walk(tree, '', 0)) {
      await Promise.resolve();
      const folder = join(tree, place);
      const name = place === '' ? ownName(folder) : place;
      try {
        yield readImage(tree, folder, name);
      } catch (error) {
        yield { name, where: folder, error: asImgconvError(error, folder) };
      }
    }
  }
  return Promise.resolve(new ListingReader(images, dirAudit(tree)));
}

/** The folder's own name, when it is one that a tree would give it. */
function ownName(folder: string): string | undefined {
  const name = basename(folder);
  const { tag, digest } = splitReference(name);
  return tag === undefined && digest === undefined ? undefined : name;
}

function readSmall(path: string, tree: string): Uint8Array | undefined {
  const file = wholeFile(path, tree);
  if (file === undefined) return undefined;
  if (file.size > MAX_MANIFEST)
    throw new ImgconvError(
      'MANIFEST_INVALID',
      `${path}: ${file.size} bytes, a manifest has ${MAX_MANIFEST} at most`,
    );
  return headOf(file, file.size);
}

function readImage(tree: string, folder: string, name: string | undefined): SourceImage {
  const versionPath = below(folder, VERSION);
  const version = readSmall(versionPath, tree);
  if (version !== undefined) checkVersion(Buffer.from(version).toString('latin1'), versionPath);
  const path = below(folder, MANIFEST);
  const bytes = readSmall(path, tree);
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
    where: folder,
    digest,
    locate: ({ digest: wanted }, as) => {
      if (wanted === digest && as === 'manifest') return wholeFile(path, tree);
      return wholeFile(as === 'manifest' ? memberPath(folder, wanted) : blobPath(folder, wanted), tree);
    },
    provesDiffIds: false,
    signatures: readSignatures({ tree, folder }, digest, bytes, path),
    warnings: [],
  };
}

function readSignatures(
  { tree, folder }: { readonly tree: string; readonly folder: string },
  digest: Digest,
  bytes: Uint8Array,
  where: string,
): Signature[] {
  const signatures: Signature[] = [];
  let bytesOfAll = 0;
  const collect = (of: Digest, member: Digest | undefined) => {
    for (let number = 1; ; number++) {
      const signature = readSmall(signaturePath(folder, member, number), tree);
      if (signature === undefined) return;
      if ((bytesOfAll += signature.length) > MAX_MANIFEST)
        throw new ImgconvError('MANIFEST_INVALID', `${where}: signatures of more than ${MAX_MANIFEST} bytes`);
      signatures.push({ of, bytes: signature });
    }
  };
  collect(digest, undefined);
  const manifest = mayName(bytes, 'manifests') ? parseManifest(bytes, where) : undefined;
  if (manifest?.kind === 'index')
    for (const member of manifest.manifests) collect(member.digest, member.digest);
  return signatures;
}
