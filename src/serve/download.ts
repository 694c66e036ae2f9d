import { inMemory } from '../bytes/content.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { blobsOf, membersOf } from '../model/graph.js';
import {
  blobName,
  INDEX_FILE,
  INDEX_TEMPLATE,
  LAYOUT_CONTENT,
  LAYOUT_FILE,
  layoutEntry,
  MANIFEST,
} from '../model/oci-layout.js';
import { ownPlatform, platformText } from '../model/platform.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { TarStream } from '../storage/tar-sink.js';
import type { Pool } from '../threads/pool.js';
import type { Backend, ServedBlob, ServedManifest } from './backend.js';
import { written } from './blob-route.js';
import type { Exchange } from './exchange.js';
import { Refusal } from './refusal.js';

interface Found extends ServedManifest {
  readonly digest: Digest;
}

/** What an archive of one image holds. */
interface Content {
  readonly root: Found;
  readonly manifests: Map<Digest, Found>;
  readonly blobs: Map<Digest, ServedBlob>;
  /** The image that an engine sees. */
  readonly image: Found | undefined;
}

/**
 * Sends an image as an archive that `docker load` takes and that is an OCI layout too: manifest.json beside index.json, as
 * Docker 25 and later write it. Blobs go as they are, proved on their way; `platform` takes one image out of an index.
 */
export async function sendArchive(
  exchange: Exchange,
  backend: Backend,
  pool: Pool,
  { repository, tag, platform }: { repository: string; tag: string; platform: string | undefined },
): Promise<void> {
  const content = await contentOf(backend, repository, tag, platform);
  exchange.response.writeHead(200, {
    'Content-Type': 'application/x-tar',
    'Content-Disposition': `attachment; filename="${`${repository}-${tag}`.replace(/[^\w.-]/g, '-')}.tar"`,
    'X-Content-Type-Options': 'nosniff',
  });
  const outlet = {
    write: (chunk: Uint8Array) => written(exchange, Buffer.from(chunk)),
    end: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const archive = new TarStream(outlet, 'none', pool);
  try {
    for (const { digest, bytes } of content.manifests.values())
      await archive.addContent(blobName(digest), inMemory(bytes));
    for (const [digest, { at, size }] of content.blobs)
      await archive.addBlobs([{ name: blobName(digest), blob: VerifiedBlob.at(at, { digest, size }, pool) }]);
    for (const [name, text] of documentsOf(content, repository, tag))
      await archive.addContent(name, inMemory(Buffer.from(text)));
    await archive.end();
  } finally {
    await archive.close();
  }
  exchange.response.end();
}

/** index.json and what engines read: all names of the one image. */
function documentsOf(
  { root, image }: Content,
  repository: string,
  tag: string,
): [name: string, text: string][] {
  const descriptor = { mediaType: root.manifest.mediaType, digest: root.digest, size: root.bytes.length };
  const manifests = [layoutEntry({ repository, tag }, descriptor)];
  const documents: [string, string][] = [
    [INDEX_FILE, JSON.stringify({ ...INDEX_TEMPLATE, manifests })],
    [LAYOUT_FILE, LAYOUT_CONTENT],
  ];
  if (image?.manifest.kind === 'image') {
    const { config, layers } = image.manifest;
    const entry = {
      Config: blobName(config.digest),
      RepoTags: [`${repository}:${tag}`],
      Layers: layers.map(({ digest }) => blobName(digest)),
    };
    documents.push([MANIFEST, JSON.stringify([entry])]);
  }
  return documents;
}

async function contentOf(
  backend: Backend,
  repository: string,
  tag: string,
  platform: string | undefined,
): Promise<Content> {
  const unknown = (what: string) => new Refusal('MANIFEST_UNKNOWN', what);
  const read = async (digest: Digest): Promise<Found | undefined> => {
    const there = await backend.manifest(repository, digest);
    return there && { ...there, digest };
  };
  const digest = await backend.resolve(repository, tag);
  const top = digest && (await read(digest));
  if (top === undefined) throw unknown(`${repository}:${tag} is not here`);
  const members = membersOf(top.manifest);
  const own = members.find((member) => platformOf(member) === (platform ?? OWN)) ?? members[0];
  const chosen =
    platform === undefined ? undefined : members.find((member) => platformOf(member) === platform);
  if (platform !== undefined && chosen === undefined)
    throw unknown(`${repository}:${tag} has no image for ${platform}`);
  const root = chosen === undefined ? top : await read(chosen.digest);
  if (root === undefined) throw unknown(`${repository}:${tag}: the image for ${platform ?? ''} is not here`);
  const manifests = new Map<Digest, Found>();
  const blobs = new Map<Digest, ServedBlob>();
  const add = async (one: Found, depth: number): Promise<void> => {
    manifests.set(one.digest, one);
    for (const { target } of blobsOf(one.manifest)) {
      const blob = await backend.blob(repository, target.digest);
      if (blob !== undefined) blobs.set(target.digest, blob);
    }
    for (const member of membersOf(one.manifest)) {
      const next = depth < 8 && !manifests.has(member.digest) ? await read(member.digest) : undefined;
      if (next !== undefined) await add(next, depth + 1);
    }
  };
  await add(root, 0);
  const image = root.manifest.kind === 'index' ? own && (await read(own.digest)) : root;
  return { root, manifests, blobs, image };
}

const OWN = platformText(ownPlatform());

function platformOf({ platform }: Descriptor): string | undefined {
  return platform && platformText(platform);
}
