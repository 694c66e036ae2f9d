import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  createReadStream,
  createWriteStream,
  existsSync,
  ftruncateSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { padded, tarHeader } from './tar.js';

/** Bytes in a file, and what names them: a digest without `sha256:`. */
export interface LayerFile {
  readonly path: string;
  readonly hex: string;
  readonly size: number;
  readonly diffId: string;
  readonly mediaType: string;
}

export interface Image {
  /** `repository:tag` */
  readonly name: string;
  readonly manifest: Buffer;
  readonly config: Buffer;
  readonly layers: readonly LayerFile[];
}

const TYPE = 'application/vnd.docker';
export const PLAIN_LAYER = `${TYPE}.image.rootfs.diff.tar`;

export function hexOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The layer as `docker push` would send it. */
export async function gzipped(layer: LayerFile): Promise<LayerFile> {
  const path = `${layer.path}.gz`;
  const hash = createHash('sha256');
  await pipeline(
    createReadStream(layer.path, { highWaterMark: 1 << 20 }),
    createGzip({ chunkSize: 1 << 20 }),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    },
    createWriteStream(path, { flags: 'wx' }),
  );
  const { size } = statSync(path);
  return { ...layer, path, hex: hash.digest('hex'), size, mediaType: `${PLAIN_LAYER}.gzip` };
}

export function imageOf(name: string, layers: readonly LayerFile[]): Image {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      created: '2020-01-01T00:00:00Z',
      config: { Labels: { name } },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => `sha256:${diffId}`) },
      history: layers.map((_, i) => ({ created: '2020-01-01T00:00:00Z', created_by: `layer ${i}` })),
    }),
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: `${TYPE}.distribution.manifest.v2+json`,
    config: {
      mediaType: `${TYPE}.container.image.v1+json`,
      size: config.length,
      digest: `sha256:${hexOf(config)}`,
    },
    layers: layers.map(({ mediaType, size, hex }) => ({ mediaType, size, digest: `sha256:${hex}` })),
  };
  return { name, manifest: Buffer.from(JSON.stringify(manifest)), config, layers };
}

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function link(from: string, to: string): void {
  if (existsSync(to)) return;
  mkdirSync(dirname(to), { recursive: true });
  linkSync(from, to);
}

/** As `skopeo sync --dest dir` lays an image: with `copies` each has files of its own. */
export function layDir(tree: string, { name, manifest, config, layers }: Image, copies: boolean): void {
  const folder = join(tree, name);
  put(join(folder, 'manifest.json'), manifest);
  put(join(folder, 'version'), 'Directory Transport Version: 1.1\n');
  put(join(folder, hexOf(config)), config);
  for (const { path, hex } of layers) (copies ? copyFileSync : link)(path, join(folder, hex));
}

/** As a registry keeps an image; layers are links to the files that they were made in. */
export function layStore(store: string, { name, manifest, config, layers }: Image): void {
  const root = join(store, 'docker/registry/v2');
  const colon = name.lastIndexOf(':');
  const repository = join(root, 'repositories', name.slice(0, colon));
  const data = (hex: string) => join(root, 'blobs/sha256', hex.slice(0, 2), hex, 'data');
  for (const bytes of [manifest, config]) put(data(hexOf(bytes)), bytes);
  for (const { path, hex } of layers) link(path, data(hex));
  for (const hex of [hexOf(config), ...layers.map((layer) => layer.hex)])
    put(join(repository, '_layers/sha256', hex, 'link'), `sha256:${hex}`);
  const digest = hexOf(manifest);
  const tag = join(repository, '_manifests/tags', name.slice(colon + 1));
  for (const path of [
    join(repository, '_manifests/revisions/sha256', digest, 'link'),
    join(tag, 'index/sha256', digest, 'link'),
    join(tag, 'current/link'),
  ])
    put(path, `sha256:${digest}`);
}

/** As `docker save` of Docker 1.10 to 24 writes an image, its layers plain. */
export function saveTar(file: string, { name, config, layers }: Image): void {
  const fd = openSync(file, 'wx');
  let end = 0;
  const add = (member: string, bytes: Uint8Array) => {
    writeSync(fd, Buffer.concat([tarHeader(member, bytes.length), bytes]), 0, undefined, end);
    end += 512 + padded(bytes.length);
  };
  const names = layers.map(({ diffId }) => `${diffId}/layer.tar`);
  for (const [i, layer] of layers.entries()) {
    writeSync(fd, tarHeader(names[i] ?? '', layer.size), 0, undefined, end);
    copyInto(fd, end + 512, layer.path);
    end += 512 + padded(layer.size);
  }
  add(`${hexOf(config)}.json`, config);
  add(
    'manifest.json',
    Buffer.from(JSON.stringify([{ Config: `${hexOf(config)}.json`, RepoTags: [name], Layers: names }])),
  );
  ftruncateSync(fd, end + 1024);
  closeSync(fd);
}

/** Leaves holes where there is nothing but zeros. */
function copyInto(to: number, position: number, path: string): void {
  const fd = openSync(path, 'r');
  const piece = Buffer.alloc(1 << 20);
  const zeros = Buffer.alloc(1 << 20);
  const { size } = fstatSync(fd);
  for (let at = 0; at < size;) {
    const count = readSync(fd, piece, 0, piece.length, at);
    if (count < piece.length || !piece.equals(zeros)) writeSync(to, piece, 0, count, position + at);
    at += count;
  }
  closeSync(fd);
}
