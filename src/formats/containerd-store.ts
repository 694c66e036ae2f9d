import { isFolder, isThere, wholeFile } from '../bytes/there.js';
import { BoltFile, type BoltBucket } from '../codecs/bolt.js';
import type { Descriptor } from '../model/descriptor.js';
import { isDigest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import type { Files } from './layout.js';
import { nearRoot } from './running.js';

/*
 * The root of containerd (core/metadata/buckets.go, plugins/content/local/store.go):
 *
 *   <root>/
 *     io.containerd.content.v1.content/blobs/<alg>/<hex>     blobs, of all namespaces together
 *     io.containerd.metadata.v1.bolt/meta.db                 bbolt:
 *       v1/<namespace>/images/<name>/target/{digest,mediatype,size}
 *       v1/<namespace>/snapshots/<snapshotter>/<chainID>/name
 *     io.containerd.snapshotter.v1.overlayfs/                files of unpacked layers (containerd-snapshots.ts)
 */
const CONTENT = 'io.containerd.content.v1.content';
export const METADATA = 'io.containerd.metadata.v1.bolt/meta.db';
const VERSION = 'v1';

/** A record of an image: containerd has one for each name. */
export interface ImageRecord {
  readonly namespace: string;
  readonly name: string;
  readonly target: Descriptor;
}

/** A record that cannot be read. */
export interface BrokenRecord {
  readonly namespace: string;
  readonly name: string;
  readonly error: ImgconvError;
}

export function recognisesContainerd(path: string): boolean {
  return isFolder(path) && isThere(`${path}/${METADATA}`, path);
}

/** The blobs of all namespaces, by their names in an OCI layout. */
export function contentOf(root: string): Files {
  const folder = `${root}/${CONTENT}`;
  const get = (name: string) => {
    const file = wholeFile(`${folder}/${name}`, root);
    // A hard link would change the link count of a file of the engine, which is only read.
    return file && { ...file, whole: false };
  };
  return { path: folder, get };
}

/** What `read` makes of the metadata, which is open until then. @throws ImgconvError NOT_FOUND, ARCHIVE_INVALID */
export function withMetadata<T>(root: string, read: (namespaces: BoltBucket) => T): T {
  const path = `${root}/${METADATA}`;
  if (!recognisesContainerd(root))
    throw new ImgconvError('NOT_FOUND', `${path}: not there: ${root} is not a root of containerd`, {
      hint:
        nearRoot(root, 'var/lib/containerd', recognisesContainerd) ??
        'it is /var/lib/containerd; of k3s /var/lib/rancher/k3s/agent/containerd, of rke2 /var/lib/rancher/rke2/agent/containerd',
    });
  using file = BoltFile.open(path, root);
  const namespaces = file.root.bucket(VERSION);
  if (namespaces === undefined)
    throw new ImgconvError(
      'FORMAT_UNSUPPORTED',
      `${path}: no bucket ${VERSION}: metadata of another version of containerd`,
    );
  return read(namespaces);
}

/** @throws ImgconvError NOT_FOUND, ARCHIVE_INVALID */
export function hasNamespace(root: string, namespace: string): boolean {
  return withMetadata(root, (namespaces) => namespaces.bucket(namespace) !== undefined);
}

/** The records of one namespace, or of all, by namespace and name. @throws ImgconvError NOT_FOUND, ARCHIVE_INVALID */
export function readRecords(root: string, namespace?: string): (ImageRecord | BrokenRecord)[] {
  return withMetadata(root, (namespaces) => {
    const found: (ImageRecord | BrokenRecord)[] = [];
    const there: string[] = [];
    for (const entry of namespaces.entries()) {
      if (!('bucket' in entry)) continue;
      const name = textOf(entry.key);
      there.push(name);
      if (namespace === undefined || namespace === name) found.push(...recordsOf(root, name, entry.bucket));
    }
    if (namespace !== undefined && !there.includes(namespace))
      throw new ImgconvError('NOT_FOUND', `${root}: no namespace ${namespace}`, {
        hint: `there are: ${there.join(', ')}`,
      });
    return found;
  });
}

function* recordsOf(
  root: string,
  namespace: string,
  bucket: BoltBucket,
): Generator<ImageRecord | BrokenRecord> {
  for (const entry of bucket.bucket('images')?.entries() ?? []) {
    if (!('bucket' in entry)) continue;
    const name = textOf(entry.key);
    const target = entry.bucket.bucket('target');
    const [digest, mediaType, size] = ['digest', 'mediatype', 'size'].map((key) => target?.value(key));
    const text = digest === undefined ? '' : textOf(digest);
    if (isDigest(text) && mediaType !== undefined && size !== undefined)
      yield { namespace, name, target: { digest: text, mediaType: textOf(mediaType), size: varint(size) } };
    else {
      const where = `${root}/${METADATA}: namespace ${namespace}: image ${name}`;
      yield {
        namespace,
        name,
        error: new ImgconvError('ARCHIVE_INVALID', `${where}: its target is incomplete`),
      };
    }
  }
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

/** A signed number as Go's encoding/binary Varint has it; -1 for none. */
function varint(bytes: Uint8Array): number {
  const value = uvarint(bytes);
  return value % 2 === 0 ? value / 2 : -1;
}

/** A number as Go's encoding/binary Uvarint has it, of at most 53 bits. */
export function uvarint(bytes: Uint8Array): number {
  let [value, scale] = [0, 1];
  for (const byte of bytes) {
    value += (byte & 0x7f) * scale;
    if (byte < 0x80 || scale > 2 ** 42) break;
    scale *= 128;
  }
  return value;
}
