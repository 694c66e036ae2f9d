import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { tarOf } from './tars.js';

/** Bytes and what names them, made and hashed without imgconv. */
export interface Part {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

/** A small image: its manifest or index, the manifests below it, and configs and layers. */
export interface Sample {
  readonly root: Part;
  readonly members: readonly Part[];
  readonly blobs: readonly Part[];
  readonly platform: string | undefined;
}

export const DOCKER = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar',
  gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;
export const OCI = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

export function digestText(bytes: Uint8Array, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export function hex(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

export function part(mediaType: string, content: Buffer | object, algorithm = 'sha256'): Part {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
  return { mediaType, digest: digestText(bytes, algorithm), bytes };
}

export function descriptorOf({ mediaType, digest, bytes }: Part, more: object = {}): object {
  return { mediaType, digest, size: bytes.length, ...more };
}

function platformOf(text: string): { os: string; architecture: string; variant?: string } {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

export interface ImageOptions {
  readonly family?: typeof DOCKER | typeof OCI;
  readonly platform?: string;
  readonly compress?: boolean;
  readonly algorithm?: string;
  /** Laid under the image's own layer; may be shared. */
  readonly base?: Buffer;
  /** What the manifest says besides. */
  readonly fields?: object;
}

/** An image whose last layer holds `text`: another text is another config, layer and manifest. */
export async function imageOf(text: string, options: ImageOptions = {}): Promise<Sample> {
  const {
    family = DOCKER,
    platform = 'linux/amd64',
    compress = true,
    algorithm = 'sha256',
    fields,
  } = options;
  const own = await tarOf({ 'etc/text': text });
  const tars = options.base === undefined ? [own] : [options.base, own];
  const layers = tars.map((tar) =>
    compress ? part(family.gzip, gzipSync(tar), algorithm) : part(family.layer, tar, algorithm),
  );
  const config = part(
    family.config,
    {
      ...platformOf(platform),
      config: { Labels: { text } },
      rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestText(tar)) },
    },
    algorithm,
  );
  const root = part(
    family.manifest,
    {
      schemaVersion: 2,
      mediaType: family.manifest,
      config: descriptorOf(config),
      layers: layers.map((layer) => descriptorOf(layer)),
      ...fields,
    },
    algorithm,
  );
  return { root, members: [], blobs: [config, ...layers], platform };
}

/** The same image with one part of it named by its sha512 digest. */
export function widened(image: Sample, which: 'root' | 'config' | 'layers'): Sample {
  const blobs = image.blobs.map(({ mediaType, bytes }, i) =>
    part(mediaType, bytes, which === (i === 0 ? 'config' : 'layers') ? 'sha512' : 'sha256'),
  );
  const [config, ...layers] = blobs.map((blob) => descriptorOf(blob));
  const manifest = { ...(JSON.parse(image.root.bytes.toString()) as object), config, layers };
  return {
    ...image,
    root: part(image.root.mediaType, manifest, which === 'root' ? 'sha512' : 'sha256'),
    blobs,
  };
}

/** An index of these images, in this order. */
export function indexOf(images: readonly Sample[], family: typeof DOCKER | typeof OCI = OCI): Sample {
  const root = part(family.index, {
    schemaVersion: 2,
    mediaType: family.index,
    manifests: images.map(({ root: member, platform }) =>
      descriptorOf(member, platform === undefined ? {} : { platform: platformOf(platform) }),
    ),
  });
  return {
    root,
    members: images.flatMap((image) => [...image.members, image.root]),
    blobs: images.flatMap(({ blobs }) => blobs),
    platform: undefined,
  };
}

/** An artifact that no engine runs, such as a Helm chart. */
export function artifactOf(text: string): Sample {
  const config = part('application/vnd.cncf.helm.config.v1+json', { name: text });
  const layer = part('application/vnd.cncf.helm.chart.content.v1.tar+gzip', Buffer.from(`chart ${text}`));
  const root = part(OCI.manifest, {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
  });
  return { root, members: [], blobs: [config, layer], platform: undefined };
}

export function put(path: string, content: string | Buffer): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function dirName(digest: string): string {
  return digest.startsWith('sha256:') ? hex(digest) : digest.replace(':', '-');
}

/** Lays an image down in a folder as skopeo does. */
export function layDir(folder: string, { root, members, blobs }: Sample): void {
  const plain = [root, ...members, ...blobs].every(({ digest }) => digest.startsWith('sha256:'));
  put(join(folder, 'version'), `Directory Transport Version: ${plain ? '1.1' : '1.2'}\n`);
  put(join(folder, 'manifest.json'), root.bytes);
  for (const { digest, bytes } of members) put(join(folder, `${dirName(digest)}.manifest.json`), bytes);
  for (const { digest, bytes } of blobs) put(join(folder, dirName(digest)), bytes);
}

/** Lays images down as a tree that `skopeo sync` would make; gives the tree's path back. */
export function layTree(tree: string, images: Readonly<Record<string, Sample>>): string {
  for (const [name, image] of Object.entries(images)) layDir(join(tree, name), image);
  return tree;
}

/** Lays images down as a registry stores them; names are `repository:tag`. Gives the storage's path back. */
export function layStore(store: string, images: Readonly<Record<string, Sample>>): string {
  const root = join(store, 'docker/registry/v2');
  for (const [name, { root: manifest, members, blobs }] of Object.entries(images)) {
    const [repository = '', tag = ''] = name.split(':');
    const below = join(root, 'repositories', repository);
    const byDigest = (digest: string) => digest.replace(':', '/');
    for (const { digest, bytes } of [manifest, ...members, ...blobs]) put(storedBlob(store, digest), bytes);
    for (const { digest } of blobs) put(join(below, '_layers', byDigest(digest), 'link'), digest);
    for (const { digest } of [manifest, ...members])
      put(join(below, '_manifests/revisions', byDigest(digest), 'link'), digest);
    const tagFolder = join(below, '_manifests/tags', tag);
    put(join(tagFolder, 'index', byDigest(manifest.digest), 'link'), manifest.digest);
    put(join(tagFolder, 'current/link'), manifest.digest);
  }
  return store;
}

/** Where a registry's storage has a blob. */
export function storedBlob(store: string, digest: string): string {
  const [algorithm = '', name = ''] = digest.split(':');
  return join(store, 'docker/registry/v2/blobs', algorithm, name.slice(0, 2), name, 'data');
}
