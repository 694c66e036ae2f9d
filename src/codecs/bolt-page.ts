import { ImgconvError } from '../model/errors.js';

/*
 * Pages of bbolt (https://github.com/etcd-io/bbolt), format version 2, as its internal/common/{page,inode,bucket}.go have
 * them. All numbers are little endian.
 *
 * page     id u64 | flags u16: 1 branch, 2 leaf, 4 meta, 16 freelist | count u16 | overflow u32: pages that follow as
 *          part of this one | elements, 16 bytes each | keys and values
 * branch   pos u32, from the element's own first byte | key size u32 | child page u64
 * leaf     flags u32: 1 bucket | pos u32 | key size u32 | value size u32; the value follows the key
 * bucket   a leaf's value: root page u64 | sequence u64; of root page 0 the bucket is inline: one leaf follows in the
 *          value, which holds no buckets (bucket.go, inlineable)
 */
export const HEADER = 16;
const ELEMENT = 16;
export const BUCKET = 16;
const FLAG_BRANCH = 1;
const FLAG_LEAF = 2;
const FLAG_BUCKET = 1;
/** bucket.go, MaxKeySize. */
const MAX_KEY = 32768;
/** bbolt splits a branch that is larger than a page, unless it has only four keys (node.go, splitTwo). */
const MAX_BRANCH = 1024 * 1024;

/** Inexact above 2^53, where no page is. */
export function u64(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at));
}

/** A branch or a leaf whose elements were checked: they lie in it, and their keys are in order. */
export class Page {
  /** 0 for the page of an inline bucket. */
  readonly id: number;
  readonly isLeaf: boolean;
  readonly count: number;
  readonly #bytes: Buffer;

  /** @throws ImgconvError ARCHIVE_INVALID; `where` begins the message */
  constructor(bytes: Buffer, id: number, where: string) {
    const flags = bytes.readUInt16LE(8);
    this.id = id;
    this.isLeaf = flags === FLAG_LEAF;
    this.count = bytes.readUInt16LE(10);
    this.#bytes = bytes;
    const wrong = this.#wrong(flags);
    if (wrong !== undefined) throw new ImgconvError('ARCHIVE_INVALID', `${where}: ${wrong}`);
  }

  #wrong(flags: number): string | undefined {
    const { id, isLeaf, count } = this;
    const length = this.#bytes.length;
    if (u64(this.#bytes, 0) !== id) return `its header has the page number ${u64(this.#bytes, 0)}`;
    if (!isLeaf && (flags !== FLAG_BRANCH || id === 0))
      return `flags ${flags}, where a leaf or branch belongs`;
    if (!isLeaf && count === 0) return 'a branch without elements';
    if (!isLeaf && length > MAX_BRANCH) return `a branch of ${length} bytes; the limit is ${MAX_BRANCH}`;
    const data = HEADER + count * ELEMENT;
    if (data > length) return `${count} elements do not fit in ${length} bytes`;
    for (let i = 0; i < count; i++) {
      const kind = isLeaf ? this.#field(i, 0) : 0;
      const keySize = this.#keySize(i);
      if (keySize === 0 || keySize > MAX_KEY) return `element ${i} has a key of ${keySize} bytes`;
      if (this.#keyAt(i) < data || this.#keyAt(i) + keySize + this.#valueSize(i) > length)
        return `element ${i} lies outside of the page`;
      if (i > 0 && this.key(i - 1).compare(this.key(i)) >= 0)
        return `the keys of elements ${i - 1} and ${i} are not in order`;
      if (kind > FLAG_BUCKET) return `element ${i} has the unknown flags ${kind}`;
      if (kind === FLAG_BUCKET && id === 0) return `element ${i} is a bucket in an inline bucket`;
      if (kind === FLAG_BUCKET && this.#valueSize(i) < BUCKET)
        return `element ${i} is too short for a bucket`;
    }
    return undefined;
  }

  #field(i: number, offset: number): number {
    return this.#bytes.readUInt32LE(HEADER + i * ELEMENT + offset);
  }

  #keyAt(i: number): number {
    return HEADER + i * ELEMENT + this.#field(i, this.isLeaf ? 4 : 0);
  }

  #keySize(i: number): number {
    return this.#field(i, this.isLeaf ? 8 : 4);
  }

  #valueSize(i: number): number {
    return this.isLeaf ? this.#field(i, 12) : 0;
  }

  key(i: number): Buffer {
    const start = this.#keyAt(i);
    return this.#bytes.subarray(start, start + this.#keySize(i));
  }

  /** A copy: to be kept without the page, and changed. */
  value(i: number): Uint8Array<ArrayBuffer> {
    const start = this.#keyAt(i) + this.#keySize(i);
    return new Uint8Array(this.#bytes.subarray(start, start + this.#valueSize(i)));
  }

  isBucket(i: number): boolean {
    return this.#field(i, 0) === FLAG_BUCKET;
  }

  child(i: number): number {
    return u64(this.#bytes, HEADER + i * ELEMENT + 8);
  }

  get size(): number {
    return this.#bytes.length;
  }

  /** Of the last element whose key is `key` or less; -1 without one. */
  find(key: Buffer): number {
    let low = 0;
    for (let high = this.count; low < high;) {
      const middle = (low + high) >>> 1;
      if (this.key(middle).compare(key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Of the first element whose key is `key` or more; `count` without one. */
  firstFrom(key: Buffer): number {
    const i = this.find(key);
    return i >= 0 && this.key(i).equals(key) ? i : i + 1;
  }
}
