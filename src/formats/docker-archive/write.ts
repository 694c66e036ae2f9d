import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { sameContent } from '../../io/same-content.js';
import { Staging } from '../../io/staging.js';
import { TarFile } from '../../io/tar-file.js';
import { Transaction } from '../../io/transaction.js';
import { parseConfig } from '../../model/config.js';
import type { Digest } from '../../model/digest.js';
import { MAX_CONFIG } from '../../model/json.js';
import {
  isContainerImage,
  manifestsOf,
  type ImageManifest,
  type ManifestNode,
} from '../../model/manifest.js';
import {
  CONTAINERD_NAME,
  INDEX_FILE,
  LAYOUT_CONTENT,
  LAYOUT_FILE,
  REF_NAME,
} from '../../model/oci-layout.js';
import { OCI_INDEX } from '../../model/media-type.js';
import { platformMatches, platformText, type Platform } from '../../model/platform.js';
import { canonicalText, referenceText, type Reference } from '../../model/reference.js';
import type { ImageToWrite, ImageWriter, WriteContext, Written } from '../format.js';
import { blobName, MANIFEST, REPOSITORIES } from './paths.js';

interface EngineEntry {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
  readonly Layers: readonly string[];
}

interface Candidate {
  readonly manifest: ImageManifest;
  readonly platform: Platform | undefined;
  readonly diffIds: number;
}

export function createArchive(file: string, context: WriteContext): Promise<ImageWriter> {
  return Promise.resolve(new ArchiveWriter(file, context));
}

class ArchiveWriter implements ImageWriter {
  readonly staging: Staging;
  readonly links = false;
  readonly #file: string;
  readonly #context: WriteContext;
  #tar: TarFile | undefined;
  #staged = '';
  readonly #added = new Set<Digest>();
  readonly #images: { name: Reference; root: ManifestNode }[] = [];
  readonly #entries: EngineEntry[] = [];
  readonly #repositories: Record<string, Record<string, string>> = {};

  constructor(file: string, context: WriteContext) {
    this.#file = file;
    this.#context = context;
    this.staging = new Staging(dirname(file));
  }

  holds(): boolean {
    return false;
  }

  async write({ name, root, blobs, signatures }: ImageToWrite): Promise<Written> {
    const tar = (this.#tar ??= this.#begin());
    const start = tar.position;
    const added: Digest[] = [];
    const notes: string[] = [];
    try {
      for (const [digest, blob] of blobs) {
        if (this.#added.has(digest)) continue;
        await tar.addBlob(blobName(digest), blob);
        this.#added.add(digest);
        added.push(digest);
        this.#context.onPut('copied', blob.size);
      }
      const entry = await this.#entryFor(name, root, blobs, notes);
      if (entry !== undefined) this.#addEntry(name, entry);
    } catch (error) {
      tar.truncate(start);
      for (const digest of added) this.#added.delete(digest);
      throw error;
    }
    this.#images.push({ name, root });
    if (signatures.length > 0)
      notes.push(`${signatures.length} signature file(s) stay behind: an archive has no place for them`);
    return { changed: true, notes };
  }

  #begin(): TarFile {
    mkdirSync(dirname(this.#file), { recursive: true });
    this.#staged = this.staging.path();
    return new TarFile(this.#staged);
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
      if (!isContainerImage(node) || node.manifest.kind !== 'image') continue;
      const config = await blobs.get(node.manifest.config.digest)?.read(MAX_CONFIG);
      if (config === undefined) continue;
      const { platform, diffIds } = parseConfig(config, `config ${node.manifest.config.digest}`);
      const own = node.descriptor.platform ?? platform;
      if (own?.os === 'unknown') continue; // An attestation (Docker buildx "attestation storage").
      candidates.push({ manifest: node.manifest, platform: own, diffIds: diffIds.length });
    }
    const chosen = this.#choose(candidates);
    if (chosen === undefined) {
      if (candidates.length > 0) {
        const have = candidates
          .map(({ platform }) => (platform ? platformText(platform) : 'unknown'))
          .join(', ');
        const wanted = this.#context.platforms.map(platformText).join(', ');
        notes.push(`engines will not see it: none of ${have} is ${wanted}; choose with --platform`);
      } else notes.push('engines will not see it: it is not a container image');
      return undefined;
    }
    const { config, layers } = chosen.manifest;
    if (layers.length !== chosen.diffIds || layers.some(({ digest }) => !blobs.has(digest))) {
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
      const fitting = candidates.find(
        ({ platform }) => platform !== undefined && platformMatches(wanted, platform),
      );
      if (fitting !== undefined) return fitting;
    }
    return candidates.length === 1 ? candidates[0] : undefined;
  }

  #addEntry(name: Reference, entry: EngineEntry): void {
    this.#entries.push(entry);
    const top = entry.Layers.at(-1);
    if (name.tag === undefined || top === undefined) return;
    const repository = referenceText({ host: name.host, repository: name.repository });
    (this.#repositories[repository] ??= {})[name.tag] = top.slice(top.lastIndexOf('/') + 1);
  }

  publish(): Promise<void> {
    return Promise.resolve();
  }

  async finish(): Promise<boolean> {
    const tar = this.#tar;
    if (tar === undefined || this.#images.length === 0) return false;
    const add = (name: string, document: unknown) => {
      tar.addBytes(name, Buffer.from(JSON.stringify(document)));
    };
    tar.addBytes(LAYOUT_FILE, Buffer.from(LAYOUT_CONTENT));
    add(INDEX_FILE, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: this.#images.map(indexEntry) });
    add(MANIFEST, this.#entries);
    add(REPOSITORIES, this.#repositories);
    tar.end();
    tar.close();
    this.#tar = undefined;
    if (await sameContent(this.#staged, this.#file, this.#context.pool)) return false;
    const transaction = new Transaction(this.staging);
    transaction.move(this.#staged, this.#file);
    await transaction.commit();
    return true;
  }

  close(): Promise<void> {
    this.#tar?.close();
    this.staging[Symbol.dispose]();
    return Promise.resolve();
  }
}

function indexEntry({ name, root }: { name: Reference; root: ManifestNode }): unknown {
  const { mediaType, digest, size } = root.descriptor;
  return {
    mediaType,
    digest,
    size,
    annotations: { [CONTAINERD_NAME]: canonicalText(name), [REF_NAME]: referenceText(name) },
  };
}
