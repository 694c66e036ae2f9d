import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { z } from 'zod';
import { imagesInTree, run } from '../interop/peers.js';
import { hexOf } from './images.js';

/** Two tools made different things of one source: the only failure of a benchmark. */
export class ContentDiffers extends Error {}

export function expectSame(what: string, ours: readonly string[], peers: readonly string[]): void {
  const [left, right] = [[...ours].sort(), [...peers].sort()];
  if (left.length > 0 && JSON.stringify(left) === JSON.stringify(right)) return;
  const lacking = right.filter((line) => !left.includes(line)).slice(0, 3);
  const more = left.filter((line) => !right.includes(line)).slice(0, 3);
  throw new ContentDiffers(
    `${what}: ${left.length} and ${right.length}; we lack ${lacking.join(', ')}; we have more: ${more.join(', ')}`,
  );
}

const manifestSchema = z.object({
  config: z.object({ digest: z.string() }),
  layers: z.array(z.object({ digest: z.string(), size: z.number() })),
});
const configSchema = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()) }) });

function hexPart(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** The digest of a file's bytes and that of what they unpack to. */
async function digestsOf(path: string): Promise<{ own: string; unpacked: string }> {
  const own = createHash('sha256');
  const unpacked = createHash('sha256');
  const gunzip = createGunzip({ chunkSize: 1 << 20 });
  let packed: boolean | undefined;
  const inner = (async () => {
    for await (const chunk of gunzip) unpacked.update(chunk as Buffer);
  })();
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    const bytes = chunk as Buffer;
    packed ??= bytes[0] === 0x1f && bytes[1] === 0x8b;
    own.update(bytes);
    if (!packed) unpacked.update(bytes);
    else if (!gunzip.write(bytes)) await new Promise((resolve) => gunzip.once('drain', resolve));
  }
  if (packed) gunzip.end();
  else gunzip.destroy();
  await inner.catch((error: unknown) => {
    if (packed) throw error;
  });
  return { own: own.digest('hex'), unpacked: unpacked.digest('hex') };
}

/** An image in a place: what names its bytes, and its layers' sizes as they lie there. */
export interface Found {
  readonly name: string;
  readonly manifest: string;
  readonly diffIds: readonly string[];
  readonly layerBytes: number;
}

/** Reads an image whole, without imgconv: each blob must be what its name says, each layer what the config says. */
async function foundImage(
  name: string,
  manifestBytes: Buffer,
  blob: (hex: string) => string,
): Promise<Found> {
  const manifest = manifestSchema.parse(JSON.parse(manifestBytes.toString()));
  const configHex = hexPart(manifest.config.digest);
  const config = readFileSync(blob(configHex));
  if (hexOf(config) !== configHex) throw new ContentDiffers(`${name}: its config is damaged`);
  const diffIds = configSchema.parse(JSON.parse(config.toString())).rootfs.diff_ids;
  let layerBytes = 0;
  for (const [i, { digest, size }] of manifest.layers.entries()) {
    const path = blob(hexPart(digest));
    const { own, unpacked } = await digestsOf(path);
    if (own !== hexPart(digest) || `sha256:${unpacked}` !== diffIds[i] || statSync(path).size !== size)
      throw new ContentDiffers(`${name}: ${path} is damaged`);
    layerBytes += size;
  }
  return { name, manifest: hexOf(manifestBytes), diffIds, layerBytes };
}

/** The images of a registry's storage; the first component of repositories is left out where it is `prefix`. */
export async function inStore(store: string, prefix = ''): Promise<Found[]> {
  const root = join(store, 'docker/registry/v2');
  const blob = (hex: string) => join(root, 'blobs/sha256', hex.slice(0, 2), hex, 'data');
  const repositories = join(root, 'repositories');
  const files = (await run('find', [repositories, '-path', '*/tags/*/current/link']))
    .split('\n')
    .filter(Boolean);
  const found: Found[] = [];
  for (const file of files.sort()) {
    const [, repository = '', tag = ''] =
      /^(.*)\/_manifests\/tags\/([^/]+)\//.exec(file.slice(repositories.length + 1)) ?? [];
    const hex = hexPart(readFileSync(file, 'latin1'));
    const bytes = readFileSync(blob(hex));
    if (hexOf(bytes) !== hex) throw new ContentDiffers(`${file}: its manifest is damaged`);
    const own = repository.startsWith(prefix) ? repository.slice(prefix.length) : repository;
    found.push(await foundImage(`${own}:${tag}`, bytes, blob));
  }
  return found;
}

/** The images of a tree of skopeo's directories; of one such directory, without a name. */
export async function inTree(tree: string): Promise<Found[]> {
  const found: Found[] = [];
  const folders = readdirSync(tree).includes('manifest.json') ? [''] : await imagesInTree(tree);
  for (const name of folders) {
    const folder = join(tree, name);
    found.push(
      await foundImage(name, readFileSync(join(folder, 'manifest.json')), (hex) => join(folder, hex)),
    );
  }
  return found;
}

/** The one image of an OCI layout. */
export async function inLayout(layout: string): Promise<Found[]> {
  const index = z
    .object({ manifests: z.tuple([z.object({ digest: z.string() })]) })
    .parse(JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')));
  const blob = (hex: string) => join(layout, 'blobs/sha256', hex);
  return [await foundImage('', readFileSync(blob(hexPart(index.manifests[0].digest))), blob)];
}

/** Unpacks an archive beside itself for the time of `use`. */
export async function unpackedTar<T>(archive: string, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = `${archive}.unpacked`;
  mkdirSync(folder);
  try {
    await run('tar', ['-xf', archive, '-C', folder]);
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What `docker load` would take from an archive: the digests of unpacked layers, each held against the config. */
export function engineDiffIds(archive: string): Promise<string[]> {
  return unpackedTar(archive, async (folder) => {
    const entries = z
      .array(z.object({ Config: z.string(), Layers: z.array(z.string()) }))
      .parse(JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')));
    const all: string[] = [];
    for (const { Config, Layers } of entries) {
      const { diff_ids } = configSchema.parse(JSON.parse(readFileSync(join(folder, Config), 'utf8'))).rootfs;
      for (const [i, layer] of Layers.entries()) {
        const { unpacked } = await digestsOf(join(folder, layer));
        if (`sha256:${unpacked}` !== diff_ids[i]) throw new ContentDiffers(`${archive}: ${layer} is damaged`);
        all.push(unpacked);
      }
    }
    return all;
  });
}

/** The digests of all blobs in an archive of an OCI layout, each held against its name. */
export function layoutDigests(archive: string): Promise<string[]> {
  return unpackedTar(archive, async (folder) => {
    const all: string[] = [];
    for (const name of readdirSync(join(folder, 'blobs/sha256'))) {
      const { own } = await digestsOf(join(folder, 'blobs/sha256', name));
      if (own !== name) throw new ContentDiffers(`${archive}: ${name} is damaged`);
      all.push(own);
    }
    return all;
  });
}

export const manifestLine = ({ name, manifest }: Found) => `${name} ${manifest}`;
export const layersLine = ({ diffIds }: Found) => diffIds.join(' ');
