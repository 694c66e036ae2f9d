import { PassThrough } from 'node:stream';
import { isDigest, type Digest } from '../../model/digest.js';
import { tryConfig } from '../../model/config.js';
import { asImgconvError } from '../../model/errors.js';
import { MAX_CONFIG } from '../../model/json.js';
import { isContainerImage } from '../../model/manifest.js';
import { manifestsOf, type ManifestNode } from '../../model/tree.js';
import { familiarText, referenceText, type Reference } from '../../model/reference.js';
import type { Outlet } from '../../storage/tar-sink.js';
import type { Format, ImageToWrite, ImageWriter, WriteContext, Written } from '../format.js';
import { chainIdOf } from '../made-image.js';
import { engineEndpoint } from './endpoint.js';
import { Engine } from './engine.js';

/** @throws ImgconvError NETWORK, USAGE */
export async function createInEngine(context: WriteContext, archive: Format): Promise<ImageWriter> {
  const engine = await Engine.connect(engineEndpoint(), context.pool.signal);
  try {
    const pipe = new Pipe(engine);
    // One that keeps blobs takes only what an archive has of them.
    const storesContent = await engine.storesContent();
    const layers = new LayersThere(engine);
    const omits = storesContent || engine.isPodman ? undefined : (image: ImageToWrite) => layers.of(image);
    if (archive.create === undefined) throw new TypeError(`${archive.prefix} cannot be written`);
    const writer = await archive.create('engine', {
      ...context,
      outlet: pipe,
      omits,
      archiveCompression: 'none',
    });
    return new EngineWriter(engine, writer, pipe);
  } catch (error) {
    engine.close();
    throw error;
  }
}

/** An archive that an engine loads while it is written. */
class Pipe implements Outlet {
  readonly #engine: Engine;
  readonly #stream = new PassThrough({ highWaterMark: 1024 * 1024 });
  #loading: Promise<unknown> | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
    // Why it was destroyed is known where that began.
    this.#stream.on('error', () => undefined);
  }

  async write(chunk: Uint8Array): Promise<void> {
    const loading = (this.#loading ??= this.#load());
    const written = new Promise<void>((resolve, reject) => {
      this.#stream.write(chunk, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    written.catch(() => undefined);
    // The engine answers before the end only when it refuses the archive.
    await Promise.race([written, loading]);
  }

  #load(): Promise<unknown> {
    const loading = this.#engine.load(this.#stream);
    loading.catch((error: unknown) => this.#stream.destroy(asImgconvError(error)));
    return loading;
  }

  /** Settles when the engine has loaded all. @throws ImgconvError with the engine's words */
  async end(): Promise<void> {
    this.#stream.end();
    await this.#loading;
  }

  close(): void {
    this.#stream.destroy();
  }
}

/** Which layers an engine has, so that they need not be sent: it takes them by their chainIDs (moby image/tarexport/load.go). */
class LayersThere {
  readonly #engine: Engine;
  #chains: Promise<ReadonlySet<Digest>> | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Digests of layers of this image that are there, and of which it has no other use. */
  async of({ root, blobs }: ImageToWrite): Promise<ReadonlySet<Digest>> {
    const chains = await (this.#chains ??= this.#read());
    const there = new Set<Digest>();
    const needed = new Set<Digest>();
    for (const node of manifestsOf(root)) {
      if (!isContainerImage(node)) continue;
      const { config, layers } = node.manifest;
      const bytes = await blobs.get(config.digest)?.read(MAX_CONFIG);
      const diffIds = (bytes && tryConfig(bytes)?.diffIds) ?? [];
      let chainId: Digest | undefined;
      for (const [i, { digest }] of layers.entries()) {
        const diffId = diffIds[i];
        chainId = diffId === undefined ? undefined : chainIdOf(chainId, diffId);
        (chainId !== undefined && chains.has(chainId) ? there : needed).add(digest);
      }
    }
    return new Set([...there].filter((digest) => !needed.has(digest)));
  }

  async #read(): Promise<ReadonlySet<Digest>> {
    const chains = new Set<Digest>();
    for (const { id } of await this.#engine.images()) {
      let chainId: Digest | undefined;
      for (const diffId of (await this.#engine.inspect(id))?.diffIds ?? []) {
        if (!isDigest(diffId)) break;
        chainId = chainIdOf(chainId, diffId);
        chains.add(chainId);
      }
    }
    return chains;
  }
}

class EngineWriter implements ImageWriter {
  readonly staging: ImageWriter['staging'];
  readonly links = false;
  readonly inPlace = false;
  readonly host = undefined;
  readonly find = undefined;
  readonly kept = undefined;
  readonly #engine: Engine;
  readonly #archive: ImageWriter;
  readonly #pipe: Pipe;
  /** Names that the engine has for just these images. */
  readonly #there = new Set<string>();

  constructor(engine: Engine, archive: ImageWriter, pipe: Pipe) {
    this.staging = archive.staging;
    this.#engine = engine;
    this.#archive = archive;
    this.#pipe = pipe;
  }

  claim(signal?: AbortSignal): Promise<void> {
    return this.#archive.claim(signal);
  }

  holds(): boolean {
    return false;
  }

  /** An engine without manifests tells the ID: the same one is the same image. */
  async tagged(name: Reference, root: ManifestNode): Promise<Digest | undefined> {
    const id = (await this.#engine.inspect(this.referenceOf(name)))?.id ?? '';
    if (!isDigest(id)) return undefined;
    const own = manifestsOf(root).some(
      (node) =>
        node.descriptor.digest === id || (isContainerImage(node) && node.manifest.config.digest === id),
    );
    if (own) this.#there.add(referenceText(name));
    return own ? root.descriptor.digest : id;
  }

  referenceOf(name: Reference): string {
    return familiarText(referenceText(name));
  }

  async write(image: ImageToWrite): Promise<Written> {
    if (this.#there.has(referenceText(image.name))) return { changed: false, notes: [] };
    const written = await this.#archive.write(image);
    if (image.name.tag !== undefined) return written;
    return {
      ...written,
      notes: [...written.notes, 'engines keep no names by digest: it has an ID alone there'],
    };
  }

  publish(): Promise<void> {
    return this.#archive.publish();
  }

  finish(): Promise<boolean> {
    return this.#archive.finish();
  }

  async close(): Promise<void> {
    this.#pipe.close();
    await this.#archive.close();
    this.#engine.close();
  }
}
