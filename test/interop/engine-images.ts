import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { outcomeOf, projectRoot, run, sha256 } from './peers.js';

const ReportSchema = z.object({
  images: z.array(
    z.object({
      source: z.string(),
      name: z.string().optional(),
      digest: z.string().optional(),
      status: z.string(),
    }),
  ),
});

/** The digest that `imgconv copy` printed for each name; of the images only those in `lost` have to fail. */
export async function copied(lost: readonly string[], ...words: string[]): Promise<Record<string, string>> {
  const command = [join(projectRoot, 'bin/imgconv.js'), 'copy', '--json', ...words];
  const { stdout, stderr } = await outcomeOf(process.execPath, command);
  const { images } = ReportSchema.parse(JSON.parse(stdout));
  const failed = images.filter(({ status }) => status === 'failed').map(({ source }) => source);
  assert.deepEqual(failed.sort(), [...lost].sort(), stderr);
  return Object.fromEntries(
    images.flatMap(({ name, digest, status }) =>
      status !== 'failed' && name !== undefined && digest !== undefined ? [[name, digest]] : [],
    ),
  );
}

const ListSchema = z.array(
  z.object({ name: z.string().optional(), digest: z.string().optional(), imageId: z.string().optional() }),
);

/**
 * What `imgconv ls` says of each name: its image ID, or else its digest. With `only`, of those names, whatever comes
 * and goes beside them.
 */
export async function listed(
  place: string,
  only?: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const command = [join(projectRoot, 'bin/imgconv.js'), 'ls', '--json', place];
  const { status, stdout, stderr } = await outcomeOf(process.execPath, command);
  if (only === undefined) assert.equal(status, 0, stderr);
  return Object.fromEntries(
    ListSchema.parse(JSON.parse(stdout)).flatMap(({ name, digest, imageId }) =>
      name === undefined || (only !== undefined && !(name in only)) ? [] : [[name, imageId ?? digest ?? '']],
    ),
  );
}

const hashOf = async (path: string) => sha256(await readFile(path));

const SavedSchema = z.array(
  z.object({ RepoTags: z.array(z.string()).nullable(), Layers: z.array(z.string()) }),
);

/** The hashes of the layers of each image in what `docker save` or `podman save` wrote. */
export async function layersOfSaved(folder: string): Promise<Record<string, string[]>> {
  const layers: Record<string, string[]> = {};
  for (const entry of SavedSchema.parse(JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')))) {
    const hashes = await Promise.all(entry.Layers.map((layer) => hashOf(join(folder, layer))));
    for (const name of entry.RepoTags ?? []) layers[name] = hashes;
  }
  return layers;
}

const IndexSchema = z.object({
  manifests: z.array(
    z.object({ digest: z.string(), annotations: z.record(z.string(), z.string()).optional() }),
  ),
});
const ManifestSchema = z.object({ layers: z.array(z.object({ digest: z.string() })) });

/** The hashes of the layers, as their files are, of each image in an OCI layout. */
export async function layersOfLayout(layout: string): Promise<Record<string, string[]>> {
  const blob = (digest: string) => join(layout, 'blobs', digest.replace(':', '/'));
  const index = IndexSchema.parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')));
  const layers: Record<string, string[]> = {};
  for (const { digest, annotations = {} } of index.manifests) {
    const manifest = ManifestSchema.parse(JSON.parse(await readFile(blob(digest), 'utf8')));
    const name = annotations['org.opencontainers.image.ref.name'] ?? '';
    const hashes = await Promise.all(manifest.layers.map((layer) => hashOf(blob(layer.digest))));
    assert.deepEqual(
      hashes,
      manifest.layers.map((layer) => layer.digest),
    );
    layers[name] = hashes;
  }
  return layers;
}

/** The digest of an image's manifest, as skopeo fetches it. */
export async function digestBySkopeo(image: string, ...words: string[]): Promise<string> {
  return sha256(Buffer.from(await run('skopeo', ['inspect', '--raw', ...words, image])));
}
