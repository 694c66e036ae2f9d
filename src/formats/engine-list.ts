import type { Content } from '../bytes/content.js';
import type { JsonList } from '../bytes/json-list.js';
import { tryConfig } from '../model/config.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { MAX_CONFIG } from '../model/json.js';
import { isContainerImage, type ImageManifest } from '../model/manifest.js';
import { manifestsOf } from '../model/tree.js';
import { isEngineLayer } from '../model/media-type.js';
import { blobName, MANIFEST, REPOSITORIES } from '../model/oci-layout.js';
import { platformMatches, platformText, type Platform } from '../model/platform.js';
import { referenceText, type Reference } from '../model/reference.js';
import type { ImageToWrite } from './format.js';

/** An entry of manifest.json. */
interface EngineEntry {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
  readonly Layers: readonly string[];
}

/** An image, or a member of an index, that an engine might load. */
interface Candidate {
  readonly manifest: ImageManifest;
  readonly platform: Platform | undefined;
  readonly diffIds: readonly Digest[];
  /** The media type of a layer that no engine unpacks: `docker load` stops at such an image, and loads none that follows. */
  readonly unloadable: string | undefined;
}

/** What engines go by in an archive: manifest.json, and `repositories` before Docker 1.10. */
export class EngineList {
  /** For which platforms indexes are listed, best first. */
  readonly #platforms: readonly Platform[];
  readonly #entries: JsonList;
  /** Tags, and of their top layers the digests, whose bytes are characters here: with many images the hex adds up. */
  readonly #repositories = new Map<string, Map<string, string>>();

  /** `entries` is for those of manifest.json. */
  constructor(platforms: readonly Platform[], entries: JsonList) {
    this.#platforms = platforms;
    this.#entries = entries;
  }

  /** What is to be listed of this image: itself or a member of its index, and what the user should know of that. */
  async entryFor(image: ImageToWrite): Promise<{ entry: EngineEntry | undefined; note: string | undefined }> {
    const candidates = await candidatesIn(image);
    const chosen = this.#choose(candidates);
    if (chosen === undefined) return { entry: undefined, note: this.#unchosen(candidates) };
    const why = whyNot(chosen, image.blobs);
    if (why !== undefined) return { entry: undefined, note: why };
    const { config, layers } = chosen.manifest;
    const entry = {
      Config: blobName(config.digest),
      RepoTags: image.name.tag === undefined ? null : [referenceText({ ...image.name, digest: undefined })],
      Layers: layers.map(({ digest }) => blobName(digest)),
    };
    const isOneOfMany = candidates.length > 1 && chosen.platform !== undefined;
    const note = isOneOfMany
      ? `engines will load ${platformText(chosen.platform)} of its ${candidates.length} platforms`
      : undefined;
    return { entry, note };
  }

  #choose(candidates: readonly Candidate[]): Candidate | undefined {
    for (const wanted of this.#platforms) {
      const fitting = candidates.filter(
        ({ platform }) => platform !== undefined && platformMatches(wanted, platform),
      );
      const loadable = fitting.find(({ unloadable }) => unloadable === undefined) ?? fitting[0];
      if (loadable !== undefined) return loadable;
    }
    return candidates.length === 1 ? candidates[0] : undefined;
  }

  #unchosen(candidates: readonly Candidate[]): string {
    if (candidates.length === 0) return '`docker load` ignores it: it is an artifact, not a container image';
    const have = candidates.map(({ platform }) => (platform ? platformText(platform) : 'unknown')).join(', ');
    const wanted = this.#platforms.map(platformText).join(', ');
    return `engines will not see it: none of ${have} is ${wanted}; choose with --platform`;
  }

  add(name: Reference, entry: EngineEntry): void {
    this.#entries.add(entry);
    const top = entry.Layers.at(-1);
    if (name.tag === undefined || top === undefined) return;
    const repository = referenceText({ host: name.host, repository: name.repository });
    const tags = this.#repositories.get(repository) ?? new Map<string, string>();
    this.#repositories.set(repository, tags.set(name.tag, packed(top.slice(top.lastIndexOf('/') + 1))));
  }

  /** The documents, by their names in the archive; nothing is added after that. */
  *documents(): Generator<readonly [name: string, json: Content]> {
    yield [MANIFEST, this.#entries.content()];
    let size = 0;
    for (const text of this.#repositoriesJson()) size += Buffer.byteLength(text);
    yield [REPOSITORIES, { size, pieces: encoded(this.#repositoriesJson()) }];
  }

  /** Tag by tag. */
  *#repositoriesJson(): Generator<string> {
    let before = '{';
    for (const [repository, tags] of this.#repositories) {
      yield `${before}${JSON.stringify(repository)}:`;
      let beforeTag = '{';
      for (const [tag, layer] of tags) {
        yield `${beforeTag}${JSON.stringify(tag)}:"${unpacked(layer)}"`;
        beforeTag = ',';
      }
      yield '}';
      before = ',';
    }
    yield before === '{' ? '{}' : '}';
  }
}

/** In pieces of 64 KiB, but for a longer text. */
function* encoded(texts: Iterable<string>): Generator<Uint8Array> {
  let buffer = Buffer.allocUnsafeSlow(64 * 1024);
  let used = 0;
  for (const text of texts) {
    const most = 3 * text.length;
    if (used + most > buffer.length) {
      yield buffer.subarray(0, used);
      used = 0;
      if (most > buffer.length) buffer = Buffer.allocUnsafeSlow(most);
    }
    used += buffer.write(text, used);
  }
  yield buffer.subarray(0, used);
}

/** The bytes of a digest as characters: half of the memory of its hex. */
function packed(hex: string): string {
  return Buffer.from(hex, 'hex').toString('latin1');
}

/** One buffer for all calls: a hundred thousand small ones are work for the garbage collector. */
const SHORT = Buffer.alloc(64);

function unpacked(packed: string): string {
  return SHORT.toString('hex', 0, SHORT.write(packed, 'latin1'));
}

async function candidatesIn({ root, blobs }: ImageToWrite): Promise<Candidate[]> {
  const candidates: Candidate[] = [];
  for (const node of manifestsOf(root)) {
    if (!isContainerImage(node)) continue;
    const { manifest } = node;
    const config = await blobs.get(manifest.config.digest)?.read(MAX_CONFIG);
    const parsed = config && tryConfig(config);
    if (parsed === undefined) continue;
    const platform = node.descriptor.platform ?? parsed.platform;
    if (platform?.os === 'unknown') continue; // An attestation (Docker buildx "attestation storage").
    const unloadable = manifest.layers.find(({ mediaType }) => !isEngineLayer(mediaType))?.mediaType;
    // cosign gives signatures, attestations and SBOMs the config of an image for no platform (cosign pkg/oci/static).
    if (unloadable !== undefined && platform === undefined) continue;
    candidates.push({ manifest, platform, diffIds: parsed.diffIds, unloadable });
  }
  return candidates;
}

/** Why engines cannot load it. */
function whyNot(
  { manifest: { layers }, diffIds, unloadable }: Candidate,
  blobs: ImageToWrite['blobs'],
): string | undefined {
  if (unloadable !== undefined)
    return `\`docker load\` ignores it: engines do not unpack layers of type ${unloadable}`;
  // Engines compare layers with sha256 digests alone (moby pkg/tarexport/load.go).
  if (diffIds.some((diffId) => algorithmOf(diffId) !== 'sha256'))
    return '`docker load` ignores it: its diffIDs are not sha256, and engines know no others';
  if (layers.length !== diffIds.length)
    return `\`docker load\` ignores it: its config has ${diffIds.length} diffIDs, and its manifest ${layers.length} layers`;
  if (layers.some(({ digest }) => !blobs.has(digest)))
    return 'engines will not see it: not all of its layers are there';
  return undefined;
}
