import { linkSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { removeBelow } from '../../bytes/below.js';
import { isIntact } from '../../storage/blob-shelf.js';
import { writeNew } from '../../threads/jobs.js';
import { OncePerDigest } from '../../proof/once.js';
import { namesIn } from '../../bytes/folder.js';
import { isThere, readWhole, wholeFile, type FileBytes } from '../../bytes/region.js';
import { Staging } from '../../storage/staging.js';
import { Transaction } from '../../storage/transaction.js';
import type { VerifiedBlob } from '../../proof/verified-blob.js';
import { algorithmOf, type Digest } from '../../model/digest.js';
import { ImgconvError, isErrno } from '../../model/errors.js';
import { blobDigestsOf, manifestsOf } from '../../model/manifest.js';
import type { Reference } from '../../model/reference.js';
import type { ImageToWrite, ImageWriter, WriteContext, Written } from '../format.js';
import { expectFolder } from '../target.js';
import { blobPath, imagePath, MANIFEST, memberPath, signaturePath, VERSION, versionText } from './paths.js';

/** What an image's folder holds, by path below it: blobs and bytes that are made here. */
interface Contents {
  readonly blobs: ReadonlyMap<string, VerifiedBlob>;
  readonly bytes: ReadonlyMap<string, Uint8Array>;
}

export function createDir(tree: string, context: WriteContext): Promise<ImageWriter> {
  expectFolder(tree);
  return Promise.resolve(new DirWriter(tree, context));
}

class DirWriter implements ImageWriter {
  readonly staging: Staging;
  readonly links = true;
  readonly find = undefined;
  readonly #tree: string;
  readonly #context: WriteContext;
  readonly #transaction: Transaction;
  /** A file of each blob in the staging folder, for the images' folders to link to. */
  readonly #anchors = new OncePerDigest<string>();

  /** Sizes of blobs that were there, and those that were placed, in whichever image. */
  readonly #present = new Map<Digest, number>();
  readonly #placed = new Set<Digest>();
  /** Folders of images of this run, and those that they lie in. */
  readonly #places = new Set<string>();
  readonly #above = new Set<string>();

  constructor(tree: string, context: WriteContext) {
    this.#tree = tree;
    this.#context = context;
    this.staging = new Staging(tree);
    this.#transaction = new Transaction(this.staging, context.pool);
  }

  holds(name: Reference, { digest, size }: { digest: Digest; size: number }): boolean {
    const folder = imagePath(this.#tree, name);
    return [blobPath(folder, digest), memberPath(folder, digest), join(folder, MANIFEST)].some(
      (path) => wholeFile(path, this.#tree)?.size === size,
    );
  }

  async write(image: ImageToWrite): Promise<Written> {
    const place = imagePath(this.#tree, image.name);
    expectDigestInName(image, place);
    const contents = contentsOf(image);
    if (await this.#isThere(place, contents)) {
      for (const { digest, size } of contents.blobs.values()) this.#present.set(digest, size);
      return { changed: false, notes: [] };
    }
    this.#expectFree(place);
    const folder = this.staging.path();
    mkdirSync(folder);
    try {
      await Promise.all([...contents.blobs].map(([name, blob]) => this.#put(blob, join(folder, name))));
    } catch (error) {
      removeBelow(this.#tree, folder);
      throw error;
    }
    for (const [name, bytes] of contents.bytes) writeNew(join(folder, name), bytes);
    this.#transaction.moveFolder(folder, place);
    return { changed: true, notes: [] };
  }

  /**
   * An image's folder holds no others, nor is it the folder of a host whose port looks like its tag: replacing it would
   * take them away. @throws ImgconvError NAME_CONFLICT
   */
  #expectFree(place: string): void {
    const fail = (what: string) => {
      throw new ImgconvError('NAME_CONFLICT', `${place}: ${what}`, {
        hint: 'give the image another name with --rename or --tag, or write into another tree',
      });
    };
    if (this.#above.has(place)) fail('other images are to lie in this folder');
    const has = (path: string) => isThere(path, this.#tree);
    if (has(place) && !has(join(place, MANIFEST)) && namesIn(place, this.#tree).length > 0)
      fail('there, and not the folder of an image');
    for (let above = dirname(place); above.length > this.#tree.length; above = dirname(above)) {
      if (this.#places.has(above) || has(join(above, MANIFEST))) fail(`${above} is the folder of an image`);
      this.#above.add(above);
    }
    this.#places.add(place);
  }

  async #isThere(place: string, { blobs, bytes }: Contents): Promise<boolean> {
    for (const [name, wanted] of bytes) {
      const file = wholeFile(join(place, name), this.#tree);
      if (file?.size !== wanted.length || readIfThere(file)?.equals(wanted) !== true) return false;
    }
    for (const [name, blob] of blobs)
      if (!(await isIntact(join(place, name), this.#tree, blob, this.#context.pool))) return false;
    return true;
  }

  async #put(blob: VerifiedBlob, path: string): Promise<void> {
    const anchor = await this.#anchor(blob);
    try {
      linkSync(anchor, path);
    } catch (error) {
      if (!isErrno(error, 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP')) throw error;
      await blob.place(path, 'copy');
    }
  }

  #anchor(blob: VerifiedBlob): Promise<string> {
    return this.#anchors.run(blob, async () => {
      const path = this.staging.path();
      this.#context.onPut(await blob.place(path, this.#context.link), blob.size);
      this.#placed.add(blob.digest);
      return path;
    });
  }

  publish(): Promise<void> {
    return this.#transaction.commit();
  }

  async finish(): Promise<boolean> {
    await this.publish();
    for (const [digest, size] of this.#present)
      if (!this.#placed.has(digest)) this.#context.onPut('present', size);
    return true;
  }

  close(): Promise<void> {
    this.staging[Symbol.dispose]();
    return Promise.resolve();
  }
}

/**
 * A folder that a tag names has no place for the manifest's digest: whoever reads it takes the sha256 one (containers/image
 * directory/directory_src.go, manifest.Digest). @throws ImgconvError FORMAT_UNSUPPORTED
 */
function expectDigestInName({ name, root }: ImageToWrite, place: string): void {
  const algorithm = algorithmOf(root.descriptor.digest);
  if (name.tag === undefined || algorithm === 'sha256') return;
  throw new ImgconvError(
    'FORMAT_UNSUPPORTED',
    `${place}: its manifest has a ${algorithm} digest, which a folder named by a tag does not keep`,
    { hint: 'reg:, oci:, docker-archive: and oci-archive: keep it' },
  );
}

/** Undefined also when another writer is just putting a new folder in the place of the one that was there. */
function readIfThere(file: FileBytes): Buffer | undefined {
  try {
    return Buffer.from(readWhole(file).bytes);
  } catch (error) {
    if (error instanceof ImgconvError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** Manifests are linked like other blobs, but for signed schema 1, whose bytes are not what its digest is of. */
function contentsOf({ root, blobs, signatures }: ImageToWrite): Contents {
  const files = new Map<string, VerifiedBlob>();
  const bytes = new Map<string, Uint8Array>();
  const parts = new Set<Digest>();
  for (const node of manifestsOf(root)) {
    const { digest } = node.descriptor;
    const name = node === root ? MANIFEST : memberPath('', digest);
    const blob = blobs.get(digest);
    if (blob === undefined || node.manifest.kind === 'schema1') bytes.set(name, node.bytes);
    else files.set(name, blob);
    for (const part of blobDigestsOf(node.manifest)) parts.add(part);
  }
  // A manifest that another one has as a layer lies there twice.
  for (const [digest, blob] of blobs) if (parts.has(digest)) files.set(blobPath('', digest), blob);
  bytes.set(VERSION, Buffer.from(versionText([...blobs.keys()])));
  const numbers = new Map<Digest, number>();
  for (const { of, bytes: signature } of signatures) {
    const number = (numbers.get(of) ?? 0) + 1;
    numbers.set(of, number);
    bytes.set(signaturePath('', of === root.descriptor.digest ? undefined : of, number), signature);
  }
  return { blobs: files, bytes };
}
