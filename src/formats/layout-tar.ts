import { tmpdir } from 'node:os';
import { basename, dirname } from 'node:path';
import { expectSize } from '../bytes/hash.js';
import { inMemory, type Content } from '../bytes/content.js';
import { JsonList } from '../bytes/json-list.js';
import { sameContent } from '../proof/same-content.js';
import { Staging } from '../storage/staging.js';
import {
  expectReplaceable,
  tarToFile,
  tarToStdout,
  TarStream,
  type Packing,
  type TarSink,
} from '../storage/tar-sink.js';
import { Transaction } from '../storage/transaction.js';
import { DigestMap } from '../model/digest-map.js';
import { ImgconvError } from '../model/errors.js';
import {
  blobName,
  INDEX_FILE,
  INDEX_TEMPLATE,
  LAYOUT_CONTENT,
  LAYOUT_FILE,
  layoutEntry,
  ownNameOf,
} from '../model/oci-layout.js';
import { referenceText, type Reference } from '../model/reference.js';
import { STANDARD } from './archive-source.js';
import { EngineList } from './engine-list.js';
import {
  signaturesNote,
  type ImageToWrite,
  type ImageWriter,
  type WriteContext,
  type Written,
} from './format.js';

/** How an archive is to be compressed: as it was said, else as its name says. @throws ImgconvError USAGE */
function packingFor(file: string, asked: Packing | undefined): Packing {
  if (asked !== undefined) return asked;
  if (/\.(?:xz|txz|bz2|tbz2?)$/.test(file))
    throw new ImgconvError('USAGE', `${file}: archives are written plain, as .gz or as .zst`);
  if (/\.(?:gz|tgz)$/.test(file)) return 'gzip';
  return /\.(?:zst|tzst)$/.test(file) ? 'zstd' : 'none';
}

function indexOf(entries: JsonList): Content {
  const [before, after] = JSON.stringify({ ...INDEX_TEMPLATE, manifests: [] }).split('[]');
  return entries.content(before, after);
}

/** Writes an OCI layout into a tar; with `engines` also what `docker load` goes by. */
export class LayoutTarWriter implements ImageWriter {
  readonly staging: Staging;
  readonly links = false;
  readonly inPlace: boolean;
  readonly find = undefined;
  readonly kept = undefined;
  readonly host = undefined;
  readonly #name: string;
  /** Where the archive is to lie; undefined for standard output. */
  readonly #file: string | undefined;
  readonly #context: WriteContext;
  readonly #engines: EngineList | undefined;
  readonly #packing: Packing;
  #tar: TarSink | undefined;
  #staged = '';
  readonly #added = new DigestMap();
  /** Of index.json. */
  readonly #entries: JsonList;

  constructor(path: string, context: WriteContext, engines: boolean) {
    this.#name = basename(path);
    this.#file = path === STANDARD || context.outlet !== undefined ? undefined : path;
    if (this.#file !== undefined) expectReplaceable(this.#file);
    this.#context = context;
    this.#packing = packingFor(path, context.archiveCompression);
    this.inPlace = this.#packing === 'none' && this.#file !== undefined && context.outlet === undefined;
    const staging = new Staging(this.#file === undefined ? tmpdir() : dirname(this.#file));
    const newList = () => new JsonList(() => staging.path());
    this.staging = staging;
    this.#entries = newList();
    this.#engines = engines ? new EngineList(context.platforms, newList()) : undefined;
  }

  holds(): boolean {
    return false;
  }

  /** An archive is written anew. */
  tagged(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  referenceOf(name: Reference): string {
    return referenceText(name);
  }

  claim(signal?: AbortSignal): Promise<void> {
    return this.staging.claim(signal);
  }

  async write(image: ImageToWrite): Promise<Written> {
    const { name, root, blobs, signatures } = image;
    const tar = (this.#tar ??= this.#begin());
    const notes = signaturesNote(signatures);
    const { entry, note } = (await this.#engines?.entryFor(image)) ?? {};
    // An engine has no place for what it does not load.
    if (this.#context.outlet !== undefined && entry === undefined) {
      const hint = 'a registry takes it (imgconv push), and so does an oci: folder';
      const why = note ?? 'no container image';
      throw new ImgconvError('FORMAT_UNSUPPORTED', `${referenceText(name)}: ${why}`, { hint });
    }
    if (note !== undefined) notes.push(note);
    const omitted = await this.#context.omits?.(image);
    const fresh = [...blobs].filter(([digest]) => !this.#added.has(digest) && omitted?.has(digest) !== true);
    for (const [digest, blob] of blobs) expectSize(blob, this.#added.get(digest) ?? blob.size, blob.where);
    await tar.addBlobs(fresh.map(([digest, blob]) => ({ name: blobName(digest), blob })));
    for (const [digest, blob] of fresh) {
      this.#added.set(digest, blob.size);
      this.#context.onPut(blob.putAs, blob.size);
    }
    if (entry !== undefined) this.#engines?.add(name, entry);
    const own = { ...root.descriptor, mediaType: root.manifest.mediaType };
    const ownName = this.#engines === undefined ? ownNameOf(this.#name) : undefined;
    this.#entries.add(layoutEntry(name, own, ownName));
    return { changed: true, notes };
  }

  #begin(): TarSink {
    const { pool, outlet } = this.#context;
    if (outlet !== undefined) return new TarStream(outlet, this.#packing, pool);
    if (this.#file === undefined) return tarToStdout(this.#packing, pool);
    this.#staged = this.staging.path();
    return tarToFile(this.#staged, this.#packing, pool);
  }

  publish(): Promise<void> {
    return Promise.resolve();
  }

  async finish(): Promise<boolean> {
    const tar = this.#tar;
    if (tar === undefined || this.#entries.length === 0) return false;
    // Without some of its layers it is no layout.
    if (this.#context.omits === undefined) {
      await tar.addContent(LAYOUT_FILE, inMemory(Buffer.from(LAYOUT_CONTENT)));
      await tar.addContent(INDEX_FILE, indexOf(this.#entries));
    }
    for (const [name, content] of this.#engines?.documents() ?? []) await tar.addContent(name, content);
    await tar.end();
    this.#tar = undefined;
    await tar.close();
    if (this.#file === undefined) return true;
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
