import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { fixture } from './fixtures.js';

/*
 * What images of the sample stores are, as their engines said it (fixtures/engines/*.json), and whether images that were
 * written are those. Nothing of imgconv is used for it.
 */

/** DiffIDs by image ID, and by the digest of a compressed layer. */
const diffIdsOf = new Map<string, readonly string[]>();
const diffIdOf = new Map<string, string>();

const list = z.array(z.string());
const blob = z.object({ digest: z.string() });
const entrySchema = z.object({ id: z.string(), diff_ids: list, layers: z.array(blob).optional() });

function learn(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const { success, data } = entrySchema.safeParse(value);
  if (success) {
    diffIdsOf.set(data.id, data.diff_ids);
    for (const [i, { digest }] of (data.layers ?? []).entries()) diffIdOf.set(digest, data.diff_ids[i] ?? '');
  }
  for (const one of Object.values(value)) learn(one);
}

for (const name of readdirSync(fixture('engines')).filter((one) => one.endsWith('.json')))
  learn(JSON.parse(readFileSync(fixture(`engines/${name}`), 'utf8')));

const manifestSchema = z.object({
  config: blob.optional(),
  layers: z.array(blob).optional(),
  manifests: z.array(blob).optional(),
});
const configSchema = z.object({ rootfs: z.object({ diff_ids: list }) });

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function readBlob(layout: string, digest: string): Buffer {
  const bytes = readFileSync(join(layout, 'blobs', digest.replace(':', '/')));
  assert.equal(sha256(bytes), digest);
  return bytes;
}

/**
 * The image that a manifest or index in a layout leads to is whole, and as an engine said: the config is one of its
 * images, and the layers are those of that image. Returns all digests on the way.
 */
export function expectRight(layout: string, digest: string): Set<string> {
  const { config, layers, manifests } = manifestSchema.parse(JSON.parse(readBlob(layout, digest).toString()));
  const found = new Set([digest]);
  for (const member of manifests ?? []) for (const one of expectRight(layout, member.digest)) found.add(one);
  if (config === undefined) return found;
  const { rootfs } = configSchema.parse(JSON.parse(readBlob(layout, config.digest).toString()));
  assert.deepEqual(
    rootfs.diff_ids,
    diffIdsOf.get(config.digest),
    `${config.digest} is no image of an engine`,
  );
  found.add(config.digest);
  assert.equal(layers?.length, rootfs.diff_ids.length);
  for (const [i, layer] of layers.entries()) {
    readBlob(layout, layer.digest);
    assert.equal(diffIdOf.get(layer.digest) ?? layer.digest, rootfs.diff_ids[i]);
    found.add(layer.digest);
  }
  return found;
}

/** All images of a layout are right. */
export function expectAllRight(layout: string): void {
  if (!existsSync(layout)) return;
  const { manifests } = manifestSchema.parse(JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')));
  for (const { digest } of manifests ?? []) expectRight(layout, digest);
}

const storeSchema = z.object({
  namespaces: z.record(z.string(), z.object({ images: z.array(z.looseObject({ name: z.string() })) })),
});

function digestsIn(value: unknown): string[] {
  return JSON.stringify(value).match(/sha256:[0-9a-f]{64}/g) ?? [];
}

/**
 * Names of the images of a containerd store that may need a blob: one whose layers are not all there may take those of
 * images that share some of its content.
 */
export function containerdImagesOf(engine: string, digest: string): Set<string> {
  const raw: unknown = JSON.parse(readFileSync(fixture(`engines/${engine}.json`), 'utf8'));
  const entries = Object.values(storeSchema.parse(raw).namespaces).flatMap(({ images }) => images);
  const needs = (entry: object): string[] => {
    const own = digestsIn(entry);
    if (!JSON.stringify(entry).includes('"present":false')) return own;
    const kin = entries.map(digestsIn).filter((one) => one.some((each) => own.includes(each)));
    return [...own, ...kin.flat()];
  };
  return new Set(entries.filter((one) => needs(one).includes(digest)).map(({ name }) => name));
}

/** The regular files of a store, whose names are bytes, one character for each (latin1). */
export function storeFiles(root: string): string[] {
  const below = (folder: string): string[] =>
    readdirSync(Buffer.from(`${root}/${folder}`, 'latin1'), {
      withFileTypes: true,
      encoding: 'latin1',
    }).flatMap((entry) => {
      const name = folder + entry.name;
      if (entry.isDirectory()) return below(`${name}/`);
      return entry.isFile() ? [name] : [];
    });
  return below('').sort();
}
