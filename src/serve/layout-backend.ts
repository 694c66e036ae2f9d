import { basename, resolve } from 'node:path';
import { changeIndex, readIndex } from '../formats/oci/index-file.js';
import { referrersTag } from '../model/attached.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { membersOf, walk } from '../model/graph.js';
import { blobName, INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE } from '../model/oci-layout.js';
import { isRepository } from '../model/reference.js';
import type { Stat, Storage } from '../storage/driver.js';
import type { Backend, ServedBlob, ServedManifest, WritableBackend } from './backend.js';
import { digestOf, LayoutWrites, nameOf, type Entry } from './layout-writes.js';
import { Manifests, Subjects } from './manifests.js';
import { NameTable, servedName, type Names } from './names.js';
import { inTransaction, UploadFolder } from './store.js';

/** What index.json says, as repositories. */
interface View {
  readonly stat: Stat | undefined;
  readonly readAt: number;
  readonly table: NameTable<Entry>;
  /** Entries without a name: they can be asked for by digest in every repository. */
  readonly nameless: ReadonlySet<Digest>;
  /** By repository, the members of its indexes. */
  readonly members: Map<string, Promise<ReadonlySet<Digest>>>;
}

const SETTLED_MS = 50;

/**
 * An OCI layout, read and written in place. A layout has no repositories of its own: the names of index.json make them.
 * Manifests belong to the repositories whose entries lead to them, blobs to all.
 */
export class LayoutBackend implements Backend {
  readonly #layout: Storage;
  readonly #ownName: string;
  readonly #manifests = new Manifests();
  readonly #subjects = new Subjects();
  readonly #uploads: UploadFolder | undefined;
  readonly writes: WritableBackend | undefined;
  #view: Promise<View> | undefined;

  /** One that is pushed to is a layout from the beginning. */
  static async open(layout: Storage, writable: boolean): Promise<LayoutBackend> {
    if (writable && (await layout.stat(INDEX_FILE)) === undefined)
      await inTransaction(layout, (transaction) => {
        transaction.put(LAYOUT_FILE, LAYOUT_CONTENT);
        return changeIndex(layout, transaction, (index) => Promise.resolve(index));
      });
    return new LayoutBackend(layout, writable);
  }

  private constructor(layout: Storage, writable: boolean) {
    this.#layout = layout;
    this.#ownName = basename(resolve(layout.name));
    this.#uploads = writable ? new UploadFolder(layout) : undefined;
    this.writes =
      this.#uploads && new LayoutWrites(layout, this.#ownName, this.#uploads, (digest) => this.#read(digest));
  }

  /** Read anew when the file is another. */
  async #current(): Promise<View> {
    const stat = await this.#layout.stat(INDEX_FILE);
    const known = await this.#view?.catch(() => undefined);
    // What was just written may be written again within the time stamp's resolution.
    const isSettled = known !== undefined && known.readAt - (stat?.changed ?? 0) > SETTLED_MS;
    if (known !== undefined && isSettled && isSame(known.stat, stat)) return known;
    this.#view = this.#look(stat);
    return this.#view;
  }

  async #look(stat: Stat | undefined): Promise<View> {
    const readAt = Date.now();
    const { manifests } = await readIndex(this.#layout);
    const table = new NameTable<Entry>();
    const nameless = new Set<Digest>();
    for (const entry of manifests) {
      const digest = digestOf(entry);
      if (digest === undefined) continue;
      const name = servedName(nameOf(entry, this.#ownName) ?? '');
      if (name !== undefined) table.add(name, digest, entry);
      else nameless.add(digest);
    }
    return { stat, readAt, table: table.seal(), nameless, members: new Map() };
  }

  get atHand(): Backend {
    return this;
  }

  async *repositories(): AsyncGenerator<string> {
    const { table, nameless } = await this.#current();
    const listed = new Set(table.repositories);
    if (listed.size === 0 && nameless.size > 0 && isRepository(this.#ownName)) listed.add(this.#ownName);
    yield* listed;
  }

  async has(repository: string): Promise<boolean> {
    return (await this.#current()).table.get(repository) !== undefined;
  }

  async tags(repository: string): Promise<Iterable<string>> {
    return (await this.#current()).table.get(repository)?.tags.keys() ?? [];
  }

  async resolve(repository: string, tag: string): Promise<Digest | undefined> {
    return (await this.#current()).table.get(repository)?.tags.get(tag);
  }

  async manifest(repository: string, digest: Digest): Promise<ServedManifest | undefined> {
    const view = await this.#current();
    const names = view.table.get(repository);
    const isNamed = names?.revisions.has(digest) === true || view.nameless.has(digest);
    if (!isNamed && !(await this.#membersOf(view, repository, names)).has(digest)) return undefined;
    return this.#read(digest);
  }

  #membersOf(
    { members }: View,
    repository: string,
    names: Names<Entry> | undefined,
  ): Promise<ReadonlySet<Digest>> {
    const known = members.get(repository);
    if (known !== undefined) return known;
    const seen = new Set<Digest>();
    const found = walk(
      [...(names?.revisions.keys() ?? [])].map((digest) => ({ digest })),
      async ({ digest }) => {
        const there = await this.#read(digest).catch(() => undefined);
        return there && membersOf(there.manifest);
      },
      seen,
    ).then(() => seen);
    members.set(repository, found);
    return found;
  }

  #read(digest: Digest): Promise<ServedManifest | undefined> {
    return this.#manifests.get(digest, () => this.#layout.bytes(blobName(digest)));
  }

  async blob(_repository: string, digest: Digest): Promise<ServedBlob | undefined> {
    const at = await this.#layout.bytes(blobName(digest));
    return at && { size: at.size, at };
  }

  async referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]> {
    const { table, nameless } = await this.#current();
    const revisions = [...(table.get(repository)?.revisions.keys() ?? []), ...nameless];
    const tagged = await this.resolve(repository, referrersTag(digest));
    return this.#subjects.referrers(digest, revisions, tagged, (one) => this.manifest(repository, one));
  }

  close(): Promise<void> {
    this.#uploads?.close();
    return Promise.resolve();
  }
}

function isSame(one: Stat | undefined, other: Stat | undefined): boolean {
  return one?.size === other?.size && one?.changed === other?.changed && one?.kind === other?.kind;
}
