import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { fixture } from './fixtures.js';
import { DOCKER, OCI, descriptorOf, digestText, hex, part, put, type Part, type Sample } from './images.js';
import { bodyOf, file, link, readTarFile, tarOf, writeTar } from './tars.js';

/** The annotations that name an entry of index.json: a tag or a whole reference, and containerd's canonical one. */
export const REF = 'org.opencontainers.image.ref.name';
export const CONTAINERD = 'io.containerd.image.name';

/** An image and what index.json says of it. */
export interface LayoutEntry {
  readonly image: Sample;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** Files by name, as they lie in a layout or an archive. */
export type LayoutFiles = Readonly<Record<string, Buffer>>;

export function blobFile(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/** Images named by whole references, as skopeo names them; a name of `@` stands for an entry without one. */
export function entriesOf(images: Readonly<Record<string, Sample>>): LayoutEntry[] {
  return Object.entries(images).map(([name, image]) =>
    name.includes('@') ? { image } : { image, annotations: { [REF]: name } },
  );
}

/** An OCI layout of these images, made without imgconv. */
export function layoutFiles(entries: readonly LayoutEntry[], more: object = {}): LayoutFiles {
  const parts = entries.flatMap(({ image }) => [image.root, ...image.members, ...image.blobs]);
  const manifests = entries.map(({ image, annotations }) =>
    descriptorOf(image.root, annotations === undefined ? {} : { annotations }),
  );
  return {
    'oci-layout': Buffer.from('{"imageLayoutVersion":"1.0.0"}'),
    ...Object.fromEntries(parts.map(({ digest, bytes }) => [blobFile(digest), bytes])),
    'index.json': Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI.index, manifests, ...more })),
  };
}

export function layFiles(folder: string, files: LayoutFiles): string {
  for (const [name, bytes] of Object.entries(files)) put(join(folder, name), bytes);
  return folder;
}

const imageSchema = z.object({
  config: z.object({ mediaType: z.string(), digest: z.string() }),
  layers: z
    .array(z.object({ mediaType: z.string(), digest: z.string(), size: z.number() }))
    .nullable()
    .transform((layers) => layers ?? []),
});
export type ImageManifest = z.infer<typeof imageSchema>;

export function parseImage(bytes: Buffer): ImageManifest {
  return imageSchema.parse(JSON.parse(bytes.toString()));
}

/** The entry of manifest.json by which an engine loads this image. */
export function engineEntry(name: string, manifest: Part): object {
  const { config, layers } = parseImage(manifest.bytes);
  return {
    Config: blobFile(config.digest),
    RepoTags: [name],
    Layers: layers.map(({ digest }) => blobFile(digest)),
  };
}

/** What `docker save` of 25 and later writes: a layout, and manifest.json for those that are container images. */
export function savedFiles(images: Readonly<Record<string, Sample>>): LayoutFiles {
  const loadable = Object.entries(images).flatMap(([name, { root, members }]) => {
    const own = [root, ...members].find(
      ({ bytes }) =>
        /"application\/vnd\.[a-z.]*image\.(?:v1|config\.v1)\+json"/.test(bytes.toString()) &&
        bytes.includes('"layers"'),
    );
    return own === undefined || name.includes('@') ? [] : [engineEntry(name, own)];
  });
  return { ...layoutFiles(entriesOf(images)), 'manifest.json': Buffer.from(JSON.stringify(loadable)) };
}

/** The files of a tar, in the order that they are given. */
export function archiveOf(files: LayoutFiles): Promise<Buffer> {
  return tarOf(files);
}

const indexSchema = z.looseObject({
  manifests: z.array(
    z.looseObject({
      mediaType: z.string(),
      digest: z.string(),
      size: z.number(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
  ),
});
export type LayoutIndex = z.infer<typeof indexSchema>;

export function readIndex(layout: string): LayoutIndex {
  return parseIndex(readFileSync(join(layout, 'index.json')));
}

export function parseIndex(bytes: Uint8Array): LayoutIndex {
  return indexSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
}

/** An artifact that speaks of another manifest by `subject`, as oras and notation attach them. */
export function referrerOf(subject: Part, text: string): Sample {
  const config = part('application/vnd.oci.empty.v1+json', Buffer.from('{}'));
  const layer = part('text/spdx', Buffer.from(`sbom ${text}`));
  const root = part(OCI.manifest, {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    artifactType: 'application/spdx',
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
    subject: descriptorOf(subject),
  });
  return { root, members: [], blobs: [config, layer], platform: undefined };
}

/** An artifact that names another image's manifest in this role, as `oras push REPO:TAG manifest.json:TYPE` does for a layer. */
export function recordOf(manifest: Part, role: 'layer' | 'config' | 'subject'): Sample {
  const text = part('text/plain', Buffer.from(`names a manifest as ${role}`));
  const empty = part('application/vnd.oci.empty.v1+json', Buffer.from('{}'));
  const config = role === 'config' ? manifest : empty;
  const layers = role === 'layer' ? [text, manifest] : [text];
  const root = part(OCI.manifest, {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    artifactType: 'application/x-record',
    config: descriptorOf(config),
    layers: layers.map((layer) => descriptorOf(layer)),
    ...(role === 'subject' && { subject: descriptorOf(manifest) }),
  });
  return { root, members: [], blobs: [config, ...layers], platform: undefined };
}

/** Artifact manifests: OCI's of image-spec v1.1.0-rc2 (artifact.md), and ORAS' own of before. */
export const ARTIFACTS = [
  'application/vnd.oci.artifact.manifest.v1+json',
  'application/vnd.cncf.oras.artifact.manifest.v1+json',
] as const;

/** As `oras attach` of 1.0 wrote it by default: by the specification, since no tool that can be had writes it now. */
export function oldReferrerOf(subject: Part, text: string, mediaType: string = ARTIFACTS[0]): Sample {
  const blob = part('text/spdx', Buffer.from(`sbom ${text}`));
  const root = part(mediaType, {
    mediaType,
    artifactType: 'application/spdx',
    blobs: [descriptorOf(blob)],
    subject: descriptorOf(subject),
    annotations: { 'org.opencontainers.artifact.created': '2023-01-01T00:00:00Z' },
  });
  return { root, members: [], blobs: [blob], platform: undefined };
}

/** An index of images and indexes, nested as they are given. */
export function nestedOf(images: readonly Sample[]): Sample {
  const root = part(OCI.index, {
    schemaVersion: 2,
    mediaType: OCI.index,
    manifests: images.map(({ root: member }) => descriptorOf(member)),
  });
  return {
    root,
    members: images.flatMap((image) => [...image.members, image.root]),
    blobs: images.flatMap(({ blobs }) => blobs),
    platform: undefined,
  };
}

/** How cosign and the referrers tag write a digest. */
export function digestTag(digest: string, suffix = ''): string {
  return `sha256-${hex(digest)}${suffix}`;
}

/**
 * docker28.tar, which has manifests of its images, with one more image that it has none of, `demo/made:1`. With
 * `linked`, plain layers are files of other names, and blobs are links to them.
 */
export async function mixedArchive(linked?: 'linked'): Promise<Buffer> {
  const layer = await tarOf({ 'etc/made': 'here' });
  const rootfs = { type: 'layers', diff_ids: [digestText(layer)] };
  const config = part(DOCKER.config, { os: 'linux', architecture: 'amd64', rootfs });
  const made = {
    Config: `${hex(config.digest)}.json`,
    RepoTags: ['demo/made:1'],
    Layers: ['made/layer.tar'],
  };
  const members = await readTarFile(fixture('docker28.tar'));
  const saved = z.array(z.unknown()).parse(JSON.parse(bodyOf(members, 'manifest.json').toString()));
  const others = members.flatMap((member) => {
    const { name, type } = member.header;
    if (type === 'directory' || name === 'manifest.json') return [];
    const isLayer = member.body.subarray(257, 262).toString() === 'ustar';
    if (linked === undefined || !isLayer) return [member];
    const target = `layers/${hex(digestText(member.body))}.tar`;
    return [file(target, member.body), link('symlink', name, `../../${target}`)];
  });
  return writeTar([
    ...others,
    file('made/layer.tar', layer),
    file(made.Config, config.bytes),
    file('manifest.json', JSON.stringify([...saved, made])),
  ]);
}
