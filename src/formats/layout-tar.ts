import { statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname } from 'node:path';
import { expectSize } from '../bytes/hash.js';
import { sameContent } from '../proof/same-content.js';
import { Staging } from '../storage/staging.js';
import { tarToFile, tarToStdout, type TarSink } from '../storage/tar-sink.js';
import { Transaction } from '../storage/transaction.js';
import { tryConfig } from '../model/config.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { ImgconvError, naming } from '../model/errors.js';
import { MAX_CONFIG } from '../model/json.js';
import { isContainerImage, manifestsOf, type ImageManifest, type ManifestNode } from '../model/manifest.js';
import {
  blobName,
  INDEX_FILE,
  INDEX_TEMPLATE,
  LAYOUT_CONTENT,
  LAYOUT_FILE,
  layoutEntry,
  ownNameOf,
  MANIFEST,
  REPOSITORIES,
} from '../model/oci-layout.js';
import { isEngineLayer } from '../model/media-type.js';
import { platformMatches, platformText, type Platform } from '../model/platform.js';
import { referenceText, type Reference } from '../model/reference.js';
import {
  signaturesNote,
  type ImageToWrite,
  type ImageWriter,
  type WriteContext,
  type Written,
} from './format.js';

interface EngineEntry {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
  readonly Layers: readonly string[];
}

interface Candidate {
  readonly manifest: ImageManifest;
  readonly platform: Platform | undefined;
  readonly diffIds: number;
  /** The media type of a layer that no engine unpacks: `docker load` stops at such an image, and loads none that follows. */
  readonly unloadable: string | undefined;
  /** Engines compare layers with sha256 digests alone (moby pkg/tarexport/load.go). */
  readonly isCanonical: boolean;
}

/** Where an archive is standard output. */
const STDOUT = '-';

/** How an archive is to be compressed: as it was said, else as its name says. @throws ImgconvError USAGE */
function packingFor(file: string, asked: WriteContext['archiveCompression']): 'gzip' | 'zstd' | 'none' {
  if (asked !== undefined) return asked;
  if (/\.(?:xz|txz|bz2|tbz2?)$/.test(file))
    throw new ImgconvError('USAGE', `${file}: archives are written plain, as .gz or as .zst`);
  if (/\.(?:gz|tgz)$/.test(file)) return 'gzip';
  return /\.(?:zst|tzst)$/.test(file) ? 'zstd' : 'none';
}

/** An archive takes the place of a file of its name; of a folder, a device or a FIFO it must not. @throws ImgconvError USAGE */
function expectReplaceable(file: string): void {
  if (file === STDOUT) return;
  const stat = naming(file, () => statSync(file, { throwIfNoEntry: false }));
  if (stat === undefined || stat.isFile()) return;
  throw new ImgconvError('USAGE', `${file}: there already, and no regular file`, {
    hint: 'give the name of a file for the archive, or - for standard output',
  });
}

/** Writes an OCI layout into a tar; with `engines` also what `docker load` goes by. */
export class LayoutTarWriter implements ImageWriter {
  readonly staging: Staging;
  readonly links = false;
  readonly find = undefined;
  readonly #file: string;
  readonly #context: WriteContext;
  readonly #engines: boolean;
  readonly #packing: 'gzip' | 'zstd' | 'none';
  #tar: TarSink | undefined;
  #staged = '';
  readonly #added = new Map<Digest, number>();
  readonly #images: { name: Reference; root: ManifestNode }[] = [];
  readonly #entries: EngineEntry[] = [];
  readonly #repositories = new Map<string, Map<string, string>>();

  constructor(file: string, context: WriteContext, engines: boolean) {
    expectReplaceable(file);
    this.#file = file;
    this.#context = context;
    this.#engines = engines;
    this.#packing = packingFor(file, context.archiveCompression);
    this.staging = new Staging(file === STDOUT ? tmpdir() : dirname(file));
  }

  holds(): boolean {
    return false;
  }

  claim(signal?: AbortSignal): Promise<void> {
    return this.staging.claim(signal);
  }

  async write({ name, root, blobs, signatures }: ImageToWrite): Promise<Written> {
    const tar = (this.#tar ??= this.#begin());
    const notes = signaturesNote(signatures);
    const entry = this.#engines ? await this.#entryFor(name, root, blobs, notes) : undefined;
    const fresh = [...blobs].filter(([digest]) => !this.#added.has(digest));
    for (const [digest, blob] of blobs) expectSize(blob, this.#added.get(digest) ?? blob.size, blob.where);
    await tar.addBlobs(fresh.map(([digest, blob]) => ({ name: blobName(digest), blob })));
    for (const [digest, blob] of fresh) {
      this.#added.set(digest, blob.size);
      this.#context.onPut(blob.putAs, blob.size);
    }
    if (entry !== undefined) this.#addEntry(name, entry);
    this.#images.push({ name, root });
    return { changed: true, notes };
  }

  #begin(): TarSink {
    const { pool } = this.#context;
    if (this.#file === STDOUT) return tarToStdout(this.#packing, pool);
    this.#staged = this.staging.path();
    return tarToFile(this.#staged, this.#packing, pool);
  }

  /** What an engine is to load of this image: itself, or the member of its index for the wanted platform. */
  async #entryFor(
    name: Reference,
    root: ManifestNode,
    blobs: ImageToWrite['blobs'],
    notes: string[],
  ): Promise<EngineEntry | undefined> {
    const candidates: Candidate[] = [];
    for (const node of manifestsOf(root)) {
      if (!isContainerImage(node)) continue;
      const config = await blobs.get(node.manifest.config.digest)?.read(MAX_CONFIG);
      if (config === undefined) continue;
      const parsed = tryConfig(config);
      if (parsed === undefined) continue;
      const { platform, diffIds } = parsed;
      const own = node.descriptor.platform ?? platform;
      if (own?.os === 'unknown') continue; // An attestation (Docker buildx "attestation storage").
      const unloadable = node.manifest.layers.find(({ mediaType }) => !isEngineLayer(mediaType))?.mediaType;
      // cosign gives signatures, attestations and SBOMs the config of an image for no platform (cosign pkg/oci/static).
      if (unloadable !== undefined && own === undefined) continue;
      const isCanonical = diffIds.every((diffId) => algorithmOf(diffId) === 'sha256');
      candidates.push({
        manifest: node.manifest,
        platform: own,
        diffIds: diffIds.length,
        unloadable,
        isCanonical,
      });
    }
    const chosen = this.#choose(candidates);
    if (chosen === undefined) {
      if (candidates.length > 0) {
        const have = candidates
          .map(({ platform }) => (platform ? platformText(platform) : 'unknown'))
          .join(', ');
        const wanted = this.#context.platforms.map(platformText).join(', ');
        notes.push(`engines will not see it: none of ${have} is ${wanted}; choose with --platform`);
      } else notes.push('`docker load` ignores it: it is an artifact, not a container image');
      return undefined;
    }
    if (chosen.unloadable !== undefined) {
      notes.push(`\`docker load\` ignores it: engines do not unpack layers of type ${chosen.unloadable}`);
      return undefined;
    }
    if (!chosen.isCanonical) {
      notes.push('`docker load` ignores it: its diffIDs are not sha256, and engines know no others');
      return undefined;
    }
    const { config, layers } = chosen.manifest;
    if (layers.length !== chosen.diffIds) {
      notes.push(
        `\`docker load\` ignores it: its config has ${chosen.diffIds} diffIDs, and its manifest ${layers.length} layers`,
      );
      return undefined;
    }
    if (layers.some(({ digest }) => !blobs.has(digest))) {
      notes.push('engines will not see it: not all of its layers are there');
      return undefined;
    }
    if (candidates.length > 1 && chosen.platform)
      notes.push(`engines will load ${platformText(chosen.platform)} of its ${candidates.length} platforms`);
    return {
      Config: blobName(config.digest),
      RepoTags: name.tag === undefined ? null : [referenceText({ ...name, digest: undefined })],
      Layers: layers.map(({ digest }) => blobName(digest)),
    };
  }

  #choose(candidates: readonly Candidate[]): Candidate | undefined {
    for (const wanted of this.#context.platforms) {
      const fitting = candidates.filter(
        ({ platform }) => platform !== undefined && platformMatches(wanted, platform),
      );
      const loadable = fitting.find(({ unloadable }) => unloadable === undefined) ?? fitting[0];
      if (loadable !== undefined) return loadable;
    }
    return candidates.length === 1 ? candidates[0] : undefined;
  }

  #addEntry(name: Reference, entry: EngineEntry): void {
    this.#entries.push(entry);
    const top = entry.Layers.at(-1);
    if (name.tag === undefined || top === undefined) return;
    const repository = referenceText({ host: name.host, repository: name.repository });
    const tags = this.#repositories.get(repository) ?? new Map<string, string>();
    this.#repositories.set(repository, tags.set(name.tag, top.slice(top.lastIndexOf('/') + 1)));
  }

  publish(): Promise<void> {
    return Promise.resolve();
  }

  async finish(): Promise<boolean> {
    const tar = this.#tar;
    if (tar === undefined || this.#images.length === 0) return false;
    const add = (name: string, document: unknown) =>
      tar.addBytes(name, Buffer.from(JSON.stringify(document)));
    await tar.addBytes(LAYOUT_FILE, Buffer.from(LAYOUT_CONTENT));
    const ownName = this.#engines ? undefined : ownNameOf(basename(this.#file));
    const manifests = this.#images.map(({ name, root: { descriptor, manifest } }) =>
      layoutEntry(name, { ...descriptor, mediaType: manifest.mediaType }, ownName),
    );
    await add(INDEX_FILE, { ...INDEX_TEMPLATE, manifests });
    if (this.#engines) {
      await add(MANIFEST, this.#entries);
      const tags = [...this.#repositories].map(
        ([repository, of]) => [repository, Object.fromEntries(of)] as const,
      );
      await add(REPOSITORIES, Object.fromEntries(tags));
    }
    await tar.end();
    this.#tar = undefined;
    await tar.close();
    if (this.#file === STDOUT) return true;
    if (await sameContent(this.#staged, this.#file, this.#context.pool)) return false;
    const transaction = new Transaction(this.staging);
    transaction.move(this.#staged, this.#file);
    await transaction.commit();
    return true;
  }

  async close(): Promise<void> {
    try {
      await this.#tar?.close();
    } finally {
      this.staging[Symbol.dispose]();
    }
  }
}
