import { algorithmOf, type Digest } from '../../model/digest.js';
import { DigestMap } from '../../model/digest-map.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf } from '../../model/graph.js';
import { manifestsOf } from '../../model/tree.js';
import { MAX_MANIFEST } from '../../model/json.js';
import { manifestPayload } from '../../model/manifest.js';
import { referenceText, type Reference } from '../../model/reference.js';
import { digestOf } from '../../bytes/hash.js';
import type { VerifiedBlob } from '../../proof/verified-blob.js';
import { isIntact } from '../../storage/blob-writer.js';
import {
  folderOf,
  join,
  type FolderContents,
  type Storage,
  type StorageTransaction,
} from '../../storage/driver.js';
import type { ImageToWrite, ImageWriter, WriteContext, Written } from '../format.js';
import { keptInTree } from './kept.js';
import { blobPath, imagePath, MANIFEST, memberPath, signaturePath, VERSION, versionText } from './paths.js';

/** `single`: the key of the folder that the only image gets, instead of one by its name. */
export function createDir(tree: Storage, context: WriteContext, single?: string): Promise<ImageWriter> {
  return Promise.resolve(new DirWriter(tree, context, single));
}

class DirWriter implements ImageWriter {
  readonly staging;
  readonly links;
  readonly inPlace = false;
  readonly host = undefined;
  readonly find = undefined;
  readonly kept;
  readonly #tree: Storage;
  readonly #context: WriteContext;
  readonly #transaction: StorageTransaction;
  /** Sizes of blobs that were placed, in whichever image; of those that were only there: -1 less the size. */
  readonly #sizes = new DigestMap();
  /** Folders of images of this run, and those that they lie in. */
  readonly #folders = new Set<string>();
  readonly #above = new Set<string>();
  readonly #single: string | undefined;

  constructor(tree: Storage, context: WriteContext, single: string | undefined) {
    this.#tree = tree;
    this.#single = single;
    this.#context = context;
    this.#transaction = tree.begin(context.pool);
    this.staging = this.#transaction.staging;
    this.links = tree.links;
    this.kept = keptInTree(tree, (name) => this.#folderOf(name), single);
  }

  async holds(name: Reference, { digest, size }: { digest: Digest; size: number }): Promise<boolean> {
    const folder = this.#folderOf(name);
    for (const key of [blobPath(folder, digest), memberPath(folder, digest), join(folder, MANIFEST)])
      if ((await this.#tree.bytes(key))?.size === size) return true;
    return false;
  }

  async tagged(name: Reference): Promise<Digest | undefined> {
    const key = join(this.#folderOf(name), MANIFEST);
    const size = (await this.#tree.bytes(key).catch(() => undefined))?.size ?? MAX_MANIFEST + 1;
    const bytes = size > MAX_MANIFEST ? undefined : await this.#tree.read(key, size);
    return bytes && digestOf(manifestPayload(bytes, this.#tree.nameOf(key)));
  }

  referenceOf(name: Reference): string {
    return referenceText(name);
  }

  /** The folder of an image: its name in a tree, or the one that was given for it. */
  #folderOf(name: Reference): string {
    return this.#single ?? imagePath(name);
  }

  claim(signal?: AbortSignal): Promise<void> {
    return this.#transaction.claim(signal);
  }

  async write(image: ImageToWrite): Promise<Written> {
    const folder = this.#folderOf(image.name);
    expectDigestInName(image, this.#tree.nameOf(folder));
    const contents = contentsOf(image);
    if (await this.#isThere(folder, contents)) {
      for (const { digest, size } of contents.blobs.values())
        if (!this.#sizes.has(digest)) this.#sizes.set(digest, -size - 1);
      return { changed: false, notes: [] };
    }
    await this.#expectFree(folder);
    await this.#transaction.replaceFolder(folder, contents, this.#context.link, (blob, how) => {
      this.#context.onPut(how, blob.size);
      this.#sizes.set(blob.digest, blob.size);
    });
    return { changed: true, notes: [] };
  }

  /**
   * An image's folder holds no others, nor is it the folder of a host whose port looks like its tag: replacing it would
   * take them away. @throws ImgconvError NAME_CONFLICT
   */
  async #expectFree(folder: string): Promise<void> {
    const fail = (what: string) => {
      throw new ImgconvError('NAME_CONFLICT', `${this.#tree.nameOf(folder)}: ${what}`, {
        hint:
          this.#single === undefined
            ? 'give the image another name with --rename or --tag, or write into another tree'
            : 'add --tree to put the image into it by its name, or give another folder',
      });
    };
    // Marked before anything is waited for: other images are written at the same time.
    const isAbove = this.#above.has(folder);
    const others: string[] = [];
    for (let above = folderOf(folder); above !== ''; above = folderOf(above)) others.push(above);
    const within = others.find((above) => this.#folders.has(above));
    this.#folders.add(folder);
    for (const above of others) this.#above.add(above);
    if (isAbove) fail('other images are to lie in this folder');
    const isImage = async (key: string) => (await this.#tree.bytes(join(key, MANIFEST))) !== undefined;
    const entries = await this.#tree.list(folder);
    if (entries.length > 0 && !(await isImage(folder)))
      fail(
        this.#single === undefined
          ? 'there, and not the folder of an image'
          : 'there, and not the directory of one image',
      );
    for (const above of others)
      if (above === within || (await isImage(above)))
        fail(`${this.#tree.nameOf(above)} is the folder of an image`);
  }

  async #isThere(folder: string, { blobs, documents }: FolderContents): Promise<boolean> {
    for (const [name, wanted] of documents)
      if (!(await this.#holdsDocument(join(folder, name), wanted))) return false;
    for (const [name, blob] of blobs)
      if (!(await isIntact(this.#tree, join(folder, name), blob, this.#context.pool))) return false;
    return true;
  }

  /** False also when another writer is just putting a new folder in the place of the one that was there. */
  async #holdsDocument(key: string, wanted: Uint8Array): Promise<boolean> {
    if ((await this.#tree.bytes(key))?.size !== wanted.length) return false;
    try {
      const found = await this.#tree.read(key, wanted.length + 1);
      return found !== undefined && Buffer.compare(found, wanted) === 0;
    } catch (error) {
      if (error instanceof ImgconvError && error.code === 'NOT_FOUND') return false;
      throw error;
    }
  }

  publish(): Promise<void> {
    return this.#transaction.commit();
  }

  async finish(): Promise<boolean> {
    await this.publish();
    for (const size of this.#sizes.values()) if (size < 0) this.#context.onPut('present', -size - 1);
    return true;
  }

  close(): Promise<void> {
    this.#transaction.close();
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

/** Manifests are linked like other blobs, but for signed schema 1, whose bytes are not what its digest is of. */
function contentsOf({ root, blobs, signatures }: ImageToWrite): FolderContents {
  const files = new Map<string, VerifiedBlob>();
  const documents = new Map<string, Uint8Array>();
  const parts = new Set<Digest>();
  for (const node of manifestsOf(root)) {
    const { digest } = node.descriptor;
    const name = node === root ? MANIFEST : memberPath('', digest);
    const blob = blobs.get(digest);
    if (blob === undefined || node.manifest.kind === 'schema1') documents.set(name, node.bytes);
    else files.set(name, blob);
    for (const part of blobDigestsOf(node.manifest)) parts.add(part);
  }
  // A manifest that another one has as a layer lies there twice.
  for (const [digest, blob] of blobs) if (parts.has(digest)) files.set(blobPath('', digest), blob);
  documents.set(VERSION, Buffer.from(versionText([...blobs.keys()])));
  const numbers = new Map<Digest, number>();
  for (const { of, bytes: signature } of signatures) {
    const number = (numbers.get(of) ?? 0) + 1;
    numbers.set(of, number);
    documents.set(signaturePath('', of === root.descriptor.digest ? undefined : of, number), signature);
  }
  return { blobs: files, documents };
}
