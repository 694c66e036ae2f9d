import { openRegular } from '../bytes/open-file.js';
import type { Page } from './bolt-page.js';
import { Pages, type Tree } from './bolt-pages.js';

/** What a bucket holds under one key. The bytes are copies. */
export type BoltEntry =
  | { readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly key: Uint8Array; readonly bucket: BoltBucket };

/** Of buckets in buckets, so that callers may recurse; bbolt has no limit. */
const MAX_NESTING = 64;

interface Place {
  readonly parent: BoltBucket;
  readonly key: Buffer;
  readonly depth: number;
}

/** Where a bucket's tree was in one commit; undefined when the bucket did not exist. */
interface Found {
  readonly commit: bigint;
  readonly tree: Tree | undefined;
}

/**
 * A bucket of an open `BoltFile`. Each method reads the file, and finds the bucket again by its path when a running
 * engine has committed since; a bucket that was deleted then is empty. Keys are compared as bytes, text as UTF-8.
 *
 * All methods throw ImgconvError: ARCHIVE_INVALID for a file that breaks the format, SOURCE_CHANGED when each attempt to
 * read was overtaken by a commit, IO.
 */
export class BoltBucket {
  readonly #pages: Pages;
  readonly #place: Place | undefined;
  #found: Found | undefined;

  /** @internal The root bucket without a place. */
  constructor(pages: Pages, place?: Place, found?: Found) {
    this.#pages = pages;
    this.#place = place;
    this.#found = found;
  }

  /** The bucket under this key; undefined for none and for a value. */
  bucket(name: string | Uint8Array): BoltBucket | undefined {
    const key = bytesOf(name);
    return this.#pages.steady(() => {
      const at = this.#find(key);
      return at?.leaf.isBucket(at.index) === true ? this.#child(at.leaf, at.index) : undefined;
    });
  }

  /** A copy of the value under this key; undefined for none and for a bucket. */
  value(name: string | Uint8Array): Uint8Array | undefined {
    const key = bytesOf(name);
    return this.#pages.steady(() => {
      const at = this.#find(key);
      return at?.leaf.isBucket(at.index) === false ? at.leaf.value(at.index) : undefined;
    });
  }

  /**
   * All entries in the order of their keys, a leaf page at a time. Those of one page are from one commit; an engine that
   * writes meanwhile may change what follows. No key comes twice.
   */
  *entries(): Generator<BoltEntry, void, undefined> {
    for (let from: Buffer | undefined; ;) {
      const key = from;
      const { leaf, next, commit } = this.#pages.steady(() => this.#leaf(key));
      if (leaf === undefined) return;
      for (let i = key === undefined ? 0 : leaf.firstFrom(key); i < leaf.count; i++) {
        const entry = { key: new Uint8Array(leaf.key(i)) };
        if (leaf.isBucket(i)) yield { ...entry, bucket: this.#child(leaf, i, commit) };
        else yield { ...entry, value: leaf.value(i) };
      }
      if (next === undefined) return;
      from = next;
    }
  }

  #leaf(key?: Buffer): { leaf?: Page; next?: Buffer | undefined; commit: bigint } {
    const tree = this.#tree();
    const { commit } = this.#pages;
    return tree === undefined ? { commit } : { ...this.#pages.leaf(tree, key), commit };
  }

  #find(key: Buffer): { leaf: Page; index: number } | undefined {
    const { leaf } = this.#leaf(key);
    const index = leaf?.find(key) ?? -1;
    return leaf !== undefined && index >= 0 && leaf.key(index).equals(key) ? { leaf, index } : undefined;
  }

  /** Recurses to the root bucket, at most MAX_NESTING times. */
  #tree(): Tree | undefined {
    const pages = this.#pages;
    if (this.#place === undefined) return pages.root;
    const { commit } = pages;
    if (this.#found?.commit === commit) return this.#found.tree;
    const { parent, key } = this.#place;
    const at = parent.#find(key);
    const tree = at?.leaf.isBucket(at.index) === true ? pages.treeOf(at.leaf, at.index) : undefined;
    this.#found = { commit, tree };
    return tree;
  }

  #child(leaf: Page, index: number, commit = this.#pages.commit): BoltBucket {
    const depth = (this.#place?.depth ?? 0) + 1;
    if (depth > MAX_NESTING)
      throw this.#pages.invalid(leaf.id, `element ${index} is a bucket nested more than ${MAX_NESTING} deep`);
    const place = { parent: this, key: Buffer.from(leaf.key(index)), depth };
    return new BoltBucket(this.#pages, place, { commit, tree: this.#pages.treeOf(leaf, index) });
  }
}

function bytesOf(name: string | Uint8Array): Buffer {
  return typeof name === 'string' ? Buffer.from(name) : Buffer.from(name);
}

/**
 * A bbolt database open for reading. No lock is taken: an engine that runs holds the only one, and may write meanwhile.
 * Pages are read when they are needed.
 */
export class BoltFile {
  readonly root: BoltBucket;
  readonly #pages: Pages;

  private constructor(pages: Pages) {
    this.#pages = pages;
    this.root = new BoltBucket(pages);
  }

  /**
   * Opens a regular file without following a link below `root`; its access time stays.
   * @throws ImgconvError ARCHIVE_INVALID for a file that is no bbolt database or has no valid meta page; NOT_FOUND, IO
   */
  static open(path: string, root: string): BoltFile {
    const file = openRegular(path, root);
    try {
      return new BoltFile(new Pages(file));
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  /** Does nothing the second time. Reading after it throws a TypeError. */
  close(): void {
    this.#pages.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
