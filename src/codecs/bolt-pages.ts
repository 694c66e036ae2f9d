import { fileIdAt } from '../bytes/file-id.js';
import { changedFile, readFully, type OpenFile } from '../bytes/open-file.js';
import { ImgconvError } from '../model/errors.js';
import { BUCKET, HEADER, Page, u64 } from './bolt-page.js';

/*
 * The file of bbolt, as its db.go and internal/common/meta.go have it. Pages 0 and 1 are the metas. After the page's header:
 * magic u32 | version u32 | page size u32 | flags u32 | root bucket: page u64, sequence u64 | freelist u64 |
 * number of pages u64 | txid u64 | FNV-1a of these u64
 *
 * A commit writes its pages first, to free places, and then the older of the two metas. The places that commit N sets
 * free are written to by commit N + 1 at the earliest (db.go, beginRWTx). So what was read is of one commit if its meta is
 * still the newest after the reading; otherwise it is read again.
 */
const META = 64;
const CHECKSUM_AT = 56;
const MAGIC = 0xed0cdaed;
const VERSION = 2;
const FIRST_PAGE = 2;
/** The page size is that of the system which made the file: 4 to 64 KiB. */
const PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

const MIB = 1024 * 1024;
/** Of a page with its overflow. */
const MAX_PAGE = 64 * MIB;
/** Of all pages that are read, and of their bytes. A file with holes costs nothing to make larger. */
const MAX_PAGES = MIB;
const MAX_READ = 4096 * MIB;
/** Levels of a tree. A page refers to two others or more, so that 2^32 leaves fit. */
const MAX_DEPTH = 32;
/** Holds all branches from a root to a leaf, whose sizes `Page` limits to 1 MiB: a walk reads each once. */
const CACHE_SIZE = 64 * MIB;
/** Larger pages are not kept. */
const MAX_CACHED = MIB;
/** A reading takes less than a millisecond, a commit with its fsync takes longer. */
const ATTEMPTS = 10;

interface Meta {
  readonly pageSize: number;
  readonly root: number;
  readonly pages: number;
  readonly txid: bigint;
  /** Tells one commit from another. */
  readonly checksum: bigint;
}

function fnv1a(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

/** Undefined for what is no whole meta page. */
function metaAt(file: OpenFile, position: number): Meta | undefined {
  const page = Buffer.alloc(HEADER + META);
  if (readFully(file.fd, page, position, file.path) < page.length) return undefined;
  const bytes = page.subarray(HEADER);
  if (bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt32LE(4) !== VERSION) return undefined;
  const pageSize = bytes.readUInt32LE(8);
  const checksum = bytes.readBigUInt64LE(CHECKSUM_AT);
  if (!PAGE_SIZES.includes(pageSize) || checksum !== fnv1a(bytes.subarray(0, CHECKSUM_AT))) return undefined;
  return { pageSize, checksum, root: u64(bytes, 16), pages: u64(bytes, 40), txid: bytes.readBigUInt64LE(48) };
}

/** The meta of the last commit. While one is being written, or when it is damaged, the other counts. */
function newestMeta(file: OpenFile): Meta {
  const first = metaAt(file, 0);
  for (const size of first === undefined ? PAGE_SIZES : [first.pageSize]) {
    const second = metaAt(file, size);
    if (second?.pageSize === size && (first === undefined || second.txid > first.txid)) return second;
  }
  if (first !== undefined) return first;
  throw new ImgconvError(
    'ARCHIVE_INVALID',
    `${file.path}: not a bbolt database of version ${VERSION}, or both of its meta pages are damaged`,
  );
}

/** What refers to the root bucket. */
const FROM_META = -1;

/** What refers to a page: element `i` of a page. Exact for files below 64 TiB. */
function referenceFrom({ id }: Page, i: number): number {
  return id * 0x10000 + i;
}

function referrerName(reference: number): string {
  return reference === FROM_META ? 'the meta page' : `page ${Math.floor(reference / 0x10000)}`;
}

/** Where a tree begins: an inline page, or a page and what refers to it. */
export type Tree = { readonly inline: Page } | { readonly page: number; readonly from: number };

/**
 * The pages of one file. Each may be referred to once (tx_check.go, verifyPageReachable), so that no walk is endless or
 * longer than the file.
 */
export class Pages {
  readonly path: string;
  #open: OpenFile | undefined;
  #meta: Meta;
  #size: number;
  #cached = 0;
  /** By page, the least recently used first. */
  readonly #cache = new Map<number, Page>();
  /** By page, those that are overflow too: what refers to it. */
  readonly #references = new Map<number, number>();

  constructor(file: OpenFile) {
    this.path = file.path;
    this.#open = file;
    this.#meta = newestMeta(file);
    this.#size = Number(fileIdAt(file.fd, file.path).size);
  }

  get #file(): OpenFile {
    if (this.#open === undefined) throw new TypeError(`${this.path} is closed`);
    return this.#open;
  }

  close(): void {
    this.#open?.[Symbol.dispose]();
    this.#open = undefined;
  }

  get commit(): bigint {
    return this.#meta.checksum;
  }

  get root(): Tree {
    return { page: this.#meta.root, from: FROM_META };
  }

  invalid(page: number, what: string): ImgconvError {
    return new ImgconvError('ARCHIVE_INVALID', `${this.path}: page ${page}: ${what}`);
  }

  /**
   * Runs `work` until all that it read was of one commit. It must not depend on pages of an earlier run.
   * @throws ImgconvError SOURCE_CHANGED when a new commit came during each attempt
   */
  steady<T>(work: () => T): T {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        const found = work();
        if (!this.#hasMoved()) return found;
      } catch (error) {
        if (!this.#hasMoved()) throw error;
      }
    }
    throw changedFile(this.path);
  }

  #hasMoved(): boolean {
    const meta = newestMeta(this.#file);
    if (meta.checksum === this.#meta.checksum) return false;
    this.#meta = meta;
    this.#size = Number(fileIdAt(this.#file.fd, this.path).size);
    this.#cache.clear();
    this.#cached = 0;
    this.#references.clear();
    return true;
  }

  /** @throws ImgconvError ARCHIVE_INVALID for a damaged page, and for one that something other than `from` refers to */
  page(id: number, from: number): Page {
    this.#expectInside(id, id);
    this.#refer(id, id, from);
    const cached = this.#cache.get(id);
    const page = cached ?? this.#read(id, from);
    if (page.size > MAX_CACHED) return page;
    if (cached === undefined) this.#cached += page.size;
    this.#cache.delete(id);
    this.#cache.set(id, page);
    for (const [oldest, { size }] of this.#cache) {
      if (this.#cached <= CACHE_SIZE) break;
      this.#cache.delete(oldest);
      this.#cached -= size;
    }
    return page;
  }

  #read(id: number, from: number): Page {
    const { pageSize } = this.#meta;
    const overflow = this.#bytes(id, HEADER).readUInt32LE(12);
    const size = (overflow + 1) * pageSize;
    if (size > MAX_PAGE)
      throw this.invalid(id, `${overflow} overflow pages make it ${size} bytes; the limit is ${MAX_PAGE}`);
    this.#expectInside(id, id + overflow);
    this.#refer(id + 1, id + overflow, from);
    return new Page(this.#bytes(id, size), id, `${this.path}: page ${id}`);
  }

  #bytes(id: number, count: number): Buffer {
    const bytes = Buffer.alloc(count);
    if (readFully(this.#file.fd, bytes, id * this.#meta.pageSize, this.path) < count)
      throw this.invalid(id, 'the file ends in it');
    return bytes;
  }

  #expectInside(id: number, last: number): void {
    const { pages, pageSize } = this.#meta;
    const count = Math.min(pages, Math.floor(this.#size / pageSize));
    if (id < FIRST_PAGE || last >= count)
      throw this.invalid(
        id,
        `reaches to page ${last}, and the database has pages ${FIRST_PAGE} to ${count - 1}`,
      );
  }

  /** Notes what refers to these pages. */
  #refer(first: number, last: number, from: number): void {
    const most = Math.min(MAX_PAGES, MAX_READ / this.#meta.pageSize);
    for (let id = first; id <= last; id++) {
      const other = this.#references.get(id);
      if (other === from) continue;
      if (other !== undefined)
        throw this.invalid(id, `used twice: by ${referrerName(other)} and by ${referrerName(from)}`);
      if (this.#references.size >= most)
        throw this.invalid(id, `the database uses more than ${most} pages, which is the limit`);
      this.#references.set(id, from);
    }
  }

  /**
   * The leaf where `key` belongs; without a key, the first leaf. `next` is where the keys of the following leaf begin,
   * undefined for the last leaf.
   * @throws ImgconvError ARCHIVE_INVALID
   */
  leaf(tree: Tree, key?: Buffer): { leaf: Page; next: Buffer | undefined } {
    let page = 'inline' in tree ? tree.inline : this.page(tree.page, tree.from);
    let first: Buffer | undefined;
    let next: Buffer | undefined;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      this.#expectBetween(page, first, next);
      if (page.isLeaf) return { leaf: page, next };
      const i = key === undefined ? 0 : Math.max(0, page.find(key));
      first = page.key(i);
      if (i + 1 < page.count) next = page.key(i + 1);
      page = this.page(page.child(i), referenceFrom(page, i));
    }
    throw this.invalid(page.id, `more than ${MAX_DEPTH} levels below the root of its tree`);
  }

  /** The keys of a page are between those of its parent (tx_check.go, recursivelyCheckPageKeyOrder). */
  #expectBetween(page: Page, first: Buffer | undefined, next: Buffer | undefined): void {
    if (page.count === 0) return;
    if (first !== undefined && page.key(0).compare(first) < 0)
      throw this.invalid(page.id, 'its first key is below its key in the parent');
    if (next !== undefined && page.key(page.count - 1).compare(next) >= 0)
      throw this.invalid(page.id, 'its last key is not below the next key in the parent');
  }

  /** Of the bucket that is element `i` of a leaf. @throws ImgconvError ARCHIVE_INVALID */
  treeOf(leaf: Page, i: number): Tree {
    const value = leaf.value(i);
    const bytes = Buffer.from(value.buffer);
    const page = u64(bytes, 0);
    if (page !== 0) return { page, from: referenceFrom(leaf, i) };
    if (bytes.length < BUCKET + HEADER)
      throw this.invalid(leaf.id, `element ${i} is too short for an inline bucket`);
    const where = `${this.path}: page ${leaf.id}: inline bucket in element ${i}`;
    return { inline: new Page(bytes.subarray(BUCKET), 0, where) };
  }
}
