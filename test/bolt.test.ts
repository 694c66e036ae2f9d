import assert from 'node:assert/strict';
import { closeSync, openSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { BoltFile, type BoltBucket } from '../src/codecs/bolt.js';
import { ImgconvError } from '../src/index.js';
import { refusal } from './support/errors.js';
import { tempFolder } from './support/temp.js';

/*
 * Writes bbolt databases from the format's description and shares nothing with the reader. The reader was also held
 * against go.etcd.io/bbolt 1.3.6: 10,514 entries in nested buckets after 40 rounds of insertions and deletions, at page
 * sizes of 1, 4 and 64 KiB, and 1.5 million entries that were read while bbolt committed 100 times a second.
 */
type Content = Map<string, string | Buffer | Content>;
interface Item {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly isBucket: boolean;
}

const BRANCH = 1;
const LEAF = 2;

function u32s(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value, 4 * i);
  return bytes;
}

function u64s(...values: (number | bigint)[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length);
  for (const [i, value] of values.entries()) bytes.writeBigUInt64LE(BigInt(value), 8 * i);
  return bytes;
}

/** A page without its padding. */
function pageOf(
  id: number,
  flags: number,
  elements: readonly { head: (pos: number) => Buffer; data: Buffer }[],
) {
  const data = Buffer.concat(elements.map((one) => one.data));
  let at = 16 + 16 * elements.length;
  const heads = elements.map((one, i) => {
    const head = one.head(at - (16 + 16 * i));
    at += one.data.length;
    return head;
  });
  const header = Buffer.concat([u64s(id), u32s(flags + elements.length * 0x10000, 0)]);
  return Buffer.concat([header, ...heads, data]);
}

function leafOf(id: number, items: readonly Item[]): Buffer {
  const elements = items.map(({ key, value, isBucket }) => ({
    head: (pos: number) => u32s(isBucket ? 1 : 0, pos, key.length, value.length),
    data: Buffer.concat([key, value]),
  }));
  return pageOf(id, LEAF, elements);
}

function branchOf(id: number, children: readonly { key: Buffer; page: number }[]): Buffer {
  const elements = children.map(({ key, page }) => ({
    head: (pos: number) => Buffer.concat([u32s(pos, key.length), u64s(page)]),
    data: key,
  }));
  return pageOf(id, BRANCH, elements);
}

function fnv(bytes: Uint8Array): bigint {
  let hash = 14695981039346656037n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 1099511628211n) % 2n ** 64n;
  return hash;
}

/** The 64 bytes of a meta with its right checksum. */
function metaOf(pageSize: number, root: number, pages: number | bigint, txid: number, version = 2): Buffer {
  const fields = Buffer.concat([
    u32s(0xed0cdaed, version, pageSize, 0),
    u64s(root, 0, 2n ** 64n - 1n, pages, txid),
  ]);
  return Buffer.concat([fields, u64s(fnv(fields))]);
}

class Writer {
  readonly pageSize: number;
  readonly pages: Buffer[];

  constructor(pageSize: number) {
    this.pageSize = pageSize;
    this.pages = [Buffer.alloc(pageSize), Buffer.alloc(pageSize)];
  }

  get next(): number {
    return this.pages.length;
  }

  /** Adds a page of any length, padded, with its overflow counted. */
  add(page: Buffer): number {
    const { pageSize, next: id } = this;
    const count = Math.ceil(page.length / pageSize);
    const whole = Buffer.concat([page, Buffer.alloc(count * pageSize - page.length)]);
    whole.writeUInt32LE(count - 1, 12);
    for (let i = 0; i < count; i++) this.pages.push(whole.subarray(i * pageSize, (i + 1) * pageSize));
    return id;
  }

  itemsOf(content: Content): Item[] {
    const items = [...content].map(([name, value]): Item => {
      const key = Buffer.from(name);
      return value instanceof Map
        ? { key, value: this.bucketOf(value), isBucket: true }
        : { key, value: Buffer.from(value), isBucket: false };
    });
    return items.sort((a, b) => a.key.compare(b.key));
  }

  bucketOf(content: Content): Buffer {
    const holdsBuckets = [...content.values()].some((value) => value instanceof Map);
    const inline = holdsBuckets ? undefined : leafOf(0, this.itemsOf(content));
    if (inline !== undefined && inline.length <= this.pageSize / 4)
      return Buffer.concat([u64s(0, 7), inline]);
    return u64s(this.treeOf(this.itemsOf(content)), 7);
  }

  treeOf(items: readonly Item[]): number {
    const leaves: Item[][] = [[]];
    let size = 16;
    for (const item of items) {
      const more = 16 + item.key.length + item.value.length;
      if (size > 16 && size + more > this.pageSize) {
        leaves.push([]);
        size = 16;
      }
      leaves.at(-1)?.push(item);
      size += more;
    }
    let level = leaves.map((leaf) => ({
      key: leaf[0]?.key ?? Buffer.alloc(0),
      page: this.add(leafOf(this.next, leaf)),
    }));
    const fanout = 4;
    while (level.length > 1) {
      const above: typeof level = [];
      for (let i = 0; i < level.length; i += fanout) {
        const children = level.slice(i, i + fanout);
        above.push({
          key: children[0]?.key ?? Buffer.alloc(0),
          page: this.add(branchOf(this.next, children)),
        });
      }
      level = above;
    }
    return level[0]?.page ?? 0;
  }

  /** The whole file; the newer meta is page `txid % 2`. */
  finish(root: number, txid = 8): Buffer {
    this.writeMeta(txid, metaOf(this.pageSize, root, this.next, txid));
    this.writeMeta(txid - 1, metaOf(this.pageSize, 2, this.next, txid - 1));
    return Buffer.concat(this.pages);
  }

  writeMeta(txid: number, meta: Buffer): void {
    const page = this.pages[txid % 2];
    assert.ok(page);
    Buffer.concat([u64s(txid % 2), u32s(4, 0), meta]).copy(page);
  }
}

function encode(content: Content, pageSize = 512, txid = 8): Buffer {
  const writer = new Writer(pageSize);
  return writer.finish(writer.treeOf(writer.itemsOf(content)), txid);
}

const folder = tempFolder();
let files = 0;

function fileOf(bytes: Uint8Array): string {
  const path = join(folder, `${++files}.db`);
  writeFileSync(path, bytes);
  return path;
}

/** All that a bucket holds, with the number of entries counted against any endless walk. */
function contentOf(bucket: BoltBucket, budget = { left: 100_000 }): Content {
  const content: Content = new Map();
  for (const entry of bucket.entries()) {
    assert.ok(--budget.left > 0, 'the walk does not end');
    const key = Buffer.from(entry.key).toString();
    content.set(key, 'bucket' in entry ? contentOf(entry.bucket, budget) : Buffer.from(entry.value));
  }
  return content;
}

function read(bytes: Uint8Array): Content {
  using file = BoltFile.open(fileOf(bytes), folder);
  return contentOf(file.root);
}

/** As the reader gives it: values as bytes, keys in order. */
function normal(content: Content): Content {
  const sorted = [...content].sort(([a], [b]) => Buffer.from(a).compare(Buffer.from(b)));
  return new Map(
    sorted.map(([key, value]) => [key, value instanceof Map ? normal(value) : Buffer.from(value)] as const),
  );
}

/** Inline buckets, buckets with pages, overflow, three levels of branches, an empty bucket. */
function sample(mark = ''): Content {
  const many: Content = new Map();
  for (let i = 0; i < 300; i++)
    many.set(`key ${String(i * 7919).padStart(8, '0')}`, `${mark}${'v'.repeat(i % 60)}`);
  const images: Content = new Map();
  for (const name of ['a:1', 'b:2', 'ü:3'])
    images.set(
      name,
      new Map<string, string | Content>([
        ['at', 'x'],
        ['target', new Map([['digest', `${mark}sha256:${name}`]])],
      ]),
    );
  const inner: Content = new Map<string, string | Content>([
    ['images', images],
    ['many', many],
  ]);
  const other: Content = new Map<string, string | Buffer>([
    ['large', Buffer.alloc(1200, 3)],
    ['z', mark],
  ]);
  const v1: Content = new Map([
    ['default', inner],
    ['k8s.io', other],
  ]);
  return new Map<string, string | Buffer | Content>([
    ['empty', new Map()],
    ['empty value', ''],
    ['large', Buffer.alloc(5000, `${mark}large`)],
    ['v1', v1],
  ]);
}

describe('a bbolt database', () => {
  for (const pageSize of [512, 4096, 65536])
    test(`is read with pages of ${pageSize} bytes`, () => {
      assert.deepEqual(read(encode(sample(), pageSize)), normal(sample()));
    });

  test('gives buckets and values by name', () => {
    using file = BoltFile.open(fileOf(encode(sample())), folder);
    const target = file.root
      .bucket('v1')
      ?.bucket('default')
      ?.bucket('images')
      ?.bucket('ü:3')
      ?.bucket('target');
    assert.equal(Buffer.from(target?.value('digest') ?? []).toString(), 'sha256:ü:3');
    assert.equal(target?.value('diges'), undefined);
    assert.equal(target?.value('digest\0'), undefined);
    assert.equal(target?.bucket('digest'), undefined, 'a value is no bucket');
    assert.equal(file.root.value('v1'), undefined, 'a bucket is no value');
    assert.equal(file.root.value(''), undefined);
    assert.deepEqual(file.root.value(Buffer.from('empty value')), new Uint8Array());
    assert.equal(file.root.value('large')?.length, 5000);
    const many = file.root.bucket('v1')?.bucket('default')?.bucket('many');
    for (const [key, value] of contentOf(many ?? file.root))
      assert.deepEqual(many?.value(key), new Uint8Array(value as Buffer));
  });

  test('lends copies: what a caller does to a value changes no later one', () => {
    using file = BoltFile.open(fileOf(encode(sample())), folder);
    const before = file.root.value('large');
    file.root.value('large')?.fill(0);
    assert.deepEqual(file.root.value('large'), before);
  });

  test('cannot be read after it was closed', () => {
    const file = BoltFile.open(fileOf(encode(sample())), folder);
    file.close();
    file.close();
    assert.throws(() => file.root.value('large'), TypeError);
  });

  test('is not read behind a symbolic link', () => {
    const path = join(folder, 'link.db');
    symlinkSync(fileOf(encode(sample())), path);
    assert.throws(() => BoltFile.open(path, folder), refusal('IO', path));
    assert.throws(() => BoltFile.open(join(folder, 'absent.db'), folder), refusal('NOT_FOUND', 'absent.db'));
  });
});

describe('the meta pages of a bbolt database', () => {
  const old = encode(sample('old '), 512, 8);

  for (const txid of [7, 8])
    test(`the one of the last transaction counts, when it is page ${txid % 2}`, () => {
      assert.deepEqual(read(encode(sample(), 512, txid)), normal(sample()));
    });

  for (const pageSize of [512, 4096, 65536])
    test(`page 1 is found with pages of ${pageSize} bytes when page 0 is damaged`, () => {
      const bytes = encode(sample(), pageSize, 9);
      bytes.fill(0xff, 0, 80);
      assert.deepEqual(read(bytes), normal(sample()));
    });

  test('page 0 counts when page 1 is damaged', () => {
    const bytes = Buffer.from(old);
    bytes.writeUInt8(bytes.readUInt8(512 + 40) ^ 1, 512 + 40);
    assert.deepEqual(read(bytes), normal(sample('old ')));
  });

  const both = Buffer.from(old);
  both.fill(0xff, 70, 72).fill(0xff, 512 + 70, 512 + 72);
  const version = Buffer.from(old);
  for (const at of [0, 512]) metaOf(512, 2, 9, 8, 3).copy(version, at + 16);
  const pageSize = Buffer.from(old);
  for (const at of [0, 512]) metaOf(100, 2, 9, 8).copy(pageSize, at + 16);
  for (const [name, bytes] of [
    ['both damaged', both],
    ['another version', version],
    ['an impossible page size', pageSize],
    ['an empty file', Buffer.alloc(0)],
    ['a file that ends in the first meta', old.subarray(0, 50)],
    ['a text', Buffer.from('text\n'.repeat(1000))],
  ] as const)
    test(`refuses ${name}`, () => {
      assert.throws(() => read(bytes), refusal('ARCHIVE_INVALID', '.db', 'not a bbolt database'));
    });
});

/** A database whose pages `build` adds, with the root that it returns. */
function built(build: (writer: Writer) => number): Buffer {
  const writer = new Writer(512);
  return writer.finish(build(writer));
}

function item(key: string, value: string | Buffer, isBucket = false): Item {
  return { key: Buffer.from(key), value: Buffer.from(value), isBucket };
}

function child(key: string, page: number) {
  return { key: Buffer.from(key), page };
}

/** A database of one leaf, page 2, that was changed. */
function changedLeaf(change: (bytes: Buffer) => void): Buffer {
  return built((writer) => {
    const page = leafOf(2, [item('a', '1'), item('b', '2')]);
    change(page);
    return writer.add(page);
  });
}

const HOSTILE: readonly (readonly [name: string, bytes: Buffer, ...words: string[]])[] = [
  ['a branch that is its own child', built((w) => w.add(branchOf(2, [child('a', 2)]))), 'page 2: used twice'],
  [
    'a circle of branches',
    built((w) => {
      w.add(branchOf(2, [child('a', 3)]));
      w.add(branchOf(3, [child('a', 4)]));
      return w.add(branchOf(4, [child('a', 2)]));
    }),
    'page 4: used twice: by the meta page and by page 3',
  ],
  [
    'a bucket that holds itself',
    built(
      (w) =>
        w.add(leafOf(2, [item('a', u64s(3, 0), true)])) && w.add(leafOf(3, [item('a', u64s(3, 0), true)])),
    ),
    'page 3: used twice',
  ],
  [
    'two buckets with one tree',
    built((w) => {
      w.add(leafOf(2, [item('x', 'y')]));
      return w.add(leafOf(3, [item('a', u64s(2, 0), true), item('b', u64s(2, 0), true)]));
    }),
    'page 2: used twice: by page 3 and by page 3',
  ],
  [
    'an overflow into another page',
    built((w) => {
      const first = leafOf(2, [item('a', '')]);
      const id = w.add(first);
      w.add(leafOf(3, [item('b', '')]));
      w.pages[id]?.writeUInt32LE(1, 12);
      return w.add(branchOf(4, [child('a', 2), child('b', 3)]));
    }),
    'page 3: used twice',
  ],
  [
    'an overflow past the end',
    changedLeafAfter((page) => page.writeUInt32LE(9, 12)),
    'page 2',
    'pages 2 to 2',
  ],
  ['the largest overflow', changedLeafAfter((page) => page.writeUInt32LE(0xffffffff, 12)), 'page 2', 'limit'],
  ['a root past the end', built((w) => w.add(leafOf(2, [])) + 50), 'page 52'],
  ['a root that is a meta page', built((w) => w.add(leafOf(2, [])) - 1), 'page 1'],
  [
    'a child past all numbers',
    built((w) =>
      w.add(
        pageOf(2, BRANCH, [
          { head: () => Buffer.concat([u32s(16, 1), u64s(2n ** 64n - 1n)]), data: Buffer.from('a') },
        ]),
      ),
    ),
    'page 18446744073709552000',
  ],
  [
    'a page with the number of another',
    changedLeaf((page) => page.writeUInt32LE(7, 0)),
    'page 2',
    'number 7',
  ],
  [
    'a freelist in the place of a leaf',
    changedLeaf((page) => page.writeUInt16LE(16, 8)),
    'page 2',
    'flags 16',
  ],
  ['a page that is leaf and branch', changedLeaf((page) => page.writeUInt16LE(3, 8)), 'page 2', 'flags 3'],
  [
    'more elements than fit',
    changedLeaf((page) => page.writeUInt16LE(0xffff, 10)),
    'page 2',
    '65535 elements',
  ],
  ['a branch without elements', built((w) => w.add(branchOf(2, []))), 'page 2', 'without elements'],
  ['an unknown element', changedLeaf((page) => page.writeUInt32LE(2, 16)), 'page 2', 'element 0', 'flags 2'],
  ['a key in the header', changedLeaf((page) => page.writeUInt32LE(0, 20)), 'page 2', 'element 0', 'outside'],
  [
    'a key past the page',
    changedLeaf((page) => page.writeUInt32LE(0xffffffff, 36)),
    'page 2',
    'element 1',
    'outside',
  ],
  [
    'a value past the page',
    changedLeaf((page) => page.writeUInt32LE(600, 28)),
    'page 2',
    'element 0',
    'outside',
  ],
  ['an empty key', changedLeaf((page) => page.writeUInt32LE(0, 24)), 'page 2', 'element 0', 'key of 0 bytes'],
  ['a huge key', changedLeaf((page) => page.writeUInt32LE(0xffffffff, 24)), 'page 2', 'element 0', 'key of'],
  [
    'keys out of order',
    built((w) => w.add(leafOf(2, [item('b', ''), item('a', '')]))),
    'page 2',
    'not in order',
  ],
  ['a key twice', built((w) => w.add(leafOf(2, [item('a', ''), item('a', '')]))), 'page 2', 'not in order'],
  [
    'keys below those of the parent',
    built((w) => w.add(leafOf(2, [item('a', '')])) && w.add(branchOf(3, [child('b', 2)]))),
    'page 2',
    'below its key in the parent',
  ],
  [
    'keys that belong to the next page',
    built((w) => {
      w.add(leafOf(2, [item('a', ''), item('c', '')]));
      w.add(leafOf(3, [item('c', '')]));
      return w.add(branchOf(4, [child('a', 2), child('c', 3)]));
    }),
    'page 2',
    'not below the next key',
  ],
  ['a bucket of 8 bytes', built((w) => w.add(leafOf(2, [item('a', u64s(2), true)]))), 'page 2', 'too short'],
  [
    'an inline bucket without a page',
    built((w) => w.add(leafOf(2, [item('a', u64s(0, 0, 0), true)]))),
    'page 2',
    'too short',
  ],
  [
    'an inline branch',
    built((w) =>
      w.add(leafOf(2, [item('a', Buffer.concat([u64s(0, 0), branchOf(0, [child('a', 2)])]), true)])),
    ),
    'page 2: inline bucket in element 0',
    'flags 1',
  ],
  [
    'a bucket in an inline bucket',
    built((w) => {
      const inline = leafOf(0, [item('x', u64s(2, 0), true)]);
      return w.add(leafOf(2, [item('a', Buffer.concat([u64s(0, 0), inline]), true)]));
    }),
    'page 2: inline bucket in element 0',
    'a bucket in an inline bucket',
  ],
  [
    'inline elements outside of the bucket, and in its page',
    built((w) => {
      const inline = leafOf(0, [item('x', '')]);
      inline.writeUInt32LE(40, 20);
      return w.add(
        leafOf(2, [item('a', Buffer.concat([u64s(0, 0), inline]), true), item('b', 'c'.repeat(100))]),
      );
    }),
    'page 2: inline bucket in element 0: element 0 lies outside',
  ],
  [
    'a tree of 1,000 levels',
    built((w) => {
      let page = w.add(leafOf(w.next, [item('a', '')]));
      for (let i = 0; i < 1000; i++) page = w.add(branchOf(w.next, [child('a', page)]));
      return page;
    }),
    'levels',
  ],
  [
    '1,000 buckets in one another',
    built((w) => {
      let page = w.add(leafOf(w.next, []));
      for (let i = 0; i < 1000; i++) page = w.add(leafOf(w.next, [item('a', u64s(page, 0), true)]));
      return page;
    }),
    'nested more than',
  ],
  [
    'a branch of 65,535 children that are one page',
    built((w) => {
      w.add(leafOf(2, []));
      return w.add(
        branchOf(
          3,
          Array.from({ length: 65535 }, (_, i) => child(String(i).padStart(5, '0'), 2)),
        ),
      );
    }),
    'limit',
  ],
  [
    'a branch of 2,000 children that are one page',
    built((w) => {
      w.add(leafOf(2, []));
      return w.add(
        branchOf(
          3,
          Array.from({ length: 2000 }, (_, i) => child(String(i).padStart(5, '0'), 2)),
        ),
      );
    }),
    'page 2: used twice',
  ],
];

/** As `changedLeaf`, once the page is in its place and has its overflow. */
function changedLeafAfter(change: (page: Buffer) => void): Buffer {
  const bytes = changedLeaf(() => undefined);
  change(bytes.subarray(2 * 512));
  return bytes;
}

describe('a bbolt database refuses', () => {
  for (const [name, bytes, ...words] of HOSTILE)
    test(name, () => {
      assert.throws(() => read(bytes), refusal('ARCHIVE_INVALID', '.db: page ', ...words));
    });

  test('a page that the file ends in', () => {
    assert.throws(
      () => read(encode(sample()).subarray(0, 3000)),
      refusal('ARCHIVE_INVALID', 'the database has pages 2 to 4'),
    );
  });

  test('a page over the limit in a sparse file, without the memory for it', () => {
    const path = fileOf(changedLeafAfter((page) => page.writeUInt32LE(2 ** 21, 12)));
    const fd = openSync(path, 'r+');
    writeSync(fd, Buffer.concat([u64s(0), u32s(4, 0), metaOf(512, 2, 2 ** 30, 20)]), 0, 80, 0);
    writeSync(fd, 'x', 2 ** 39);
    closeSync(fd);
    using file = BoltFile.open(path, folder);
    assert.throws(() => contentOf(file.root), refusal('ARCHIVE_INVALID', 'page 2', 'limit is 67108864'));
  });
});

describe('a bbolt database that is written to while it is read', () => {
  /** `bytes` in the place of what the file holds, at once. */
  function replace(path: string, bytes: Buffer): void {
    const fd = openSync(path, 'r+');
    writeSync(fd, bytes, 0, bytes.length, 0);
    closeSync(fd);
  }

  test('gives the new commit to those who held a bucket of the old', () => {
    const path = fileOf(encode(sample('old '), 512, 8));
    using file = BoltFile.open(path, folder);
    const many = file.root.bucket('v1')?.bucket('default')?.bucket('many');
    assert.equal(Buffer.from(many?.value('key 00000000') ?? []).toString(), 'old ');
    const content = sample('new ');
    content.set('a first key that moves all pages', Buffer.alloc(3000));
    replace(path, encode(content, 512, 10));
    assert.equal(Buffer.from(many?.value('key 00000000') ?? []).toString(), 'new ');
    replace(path, encode(new Map([['v1', 'now a value']]), 512, 11));
    assert.equal(many?.value('key 00000000'), undefined);
    assert.deepEqual([...(many?.entries() ?? [0])], []);
  });

  test('is walked on from the last key, each key once', () => {
    const path = fileOf(encode(sample('old '), 512, 8));
    using file = BoltFile.open(path, folder);
    const many = file.root.bucket('v1')?.bucket('default')?.bucket('many');
    assert.ok(many);
    const keys: string[] = [];
    let txid = 8;
    for (const { key } of many.entries()) {
      keys.push(Buffer.from(key).toString());
      if (keys.length % 40 !== 0) continue;
      const content = sample('new ');
      content.set('a', Buffer.alloc(100 * keys.length));
      replace(path, encode(content, 512, ++txid));
    }
    assert.ok(txid > 12);
    assert.deepEqual(keys, [...new Set(keys)].sort());
    assert.equal(keys.length, 300);
  });

  test('is an error when what is damaged stays so', () => {
    const path = fileOf(encode(sample('old '), 512, 8));
    using file = BoltFile.open(path, folder);
    const bytes = encode(sample('new '), 512, 10);
    bytes.fill(0, 1024);
    replace(path, bytes);
    assert.throws(() => contentOf(file.root), refusal('ARCHIVE_INVALID', 'page number 0'));
  });
});

describe('3,000 damaged bbolt databases', () => {
  /** xorshift32, the same on each run. */
  function randomOf(seed: number): (below: number) => number {
    let state = seed;
    return (below) => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % below;
    };
  }

  const EXTREMES = [
    0n,
    1n,
    2n,
    15n,
    16n,
    17n,
    0x7fffn,
    0x8000n,
    0xffffn,
    0x7fffffffn,
    0xffffffffn,
    2n ** 53n,
    2n ** 63n,
    2n ** 64n - 1n,
  ];

  function mutate(bytes: Buffer, random: (below: number) => number): Buffer {
    const pages = bytes.length / 512;
    // Headers and elements are where the damage is read.
    const at = random(2) === 0 ? random(bytes.length - 8) : random(pages) * 512 + random(24) * 4;
    const extreme = EXTREMES[random(EXTREMES.length)] ?? 0n;
    switch (random(7)) {
      case 0:
        bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random(8)), at);
        break;
      case 1:
        return bytes.subarray(0, random(bytes.length));
      case 2: {
        const [one, other] = [random(pages) * 512, random(pages) * 512];
        const page = Buffer.from(bytes.subarray(one, one + 512));
        bytes.copyWithin(one, other, other + 512);
        page.copy(bytes, other);
        // With its own number in it, it is found out later.
        if (random(2) === 0) for (const place of [one, other]) bytes.writeUInt32LE(place / 512, place);
        break;
      }
      case 3:
        bytes.writeUInt16LE(Number(BigInt.asUintN(16, extreme)), at);
        break;
      case 4:
        bytes.writeUInt32LE(Number(BigInt.asUintN(32, extreme)), at);
        break;
      case 5:
        bytes.writeBigUInt64LE(random(2) === 0 ? extreme : BigInt(random(pages)), at);
        break;
      default:
        metaOf(512, random(pages + 2), random(2) === 0 ? extreme : pages, 9).copy(bytes, 16);
    }
    return bytes;
  }

  test('are read or refused, and nothing else', () => {
    const sound = encode(sample());
    const random = randomOf(20261129);
    const path = fileOf(sound);
    const began = Date.now();
    let read = 0;
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      let bytes: Buffer = Buffer.from(sound);
      for (let n = 1 + random(3); n > 0 && bytes.length >= 1024; n--)
        bytes = mutate(bytes.subarray(0, bytes.length - (bytes.length % 512)), random);
      writeFileSync(path, bytes);
      try {
        using file = BoltFile.open(path, folder);
        contentOf(file.root);
        file.root.bucket('v1')?.bucket('default')?.bucket('many')?.value('key 00007919');
        read++;
      } catch (error) {
        assert.ok(error instanceof ImgconvError, `mutation ${i}: ${String(error)}`);
        assert.equal(error.code, 'ARCHIVE_INVALID', `mutation ${i}: ${error.message}`);
        assert.ok(error.message.startsWith(`${path}: `), error.message);
        refused++;
      }
    }
    assert.ok(read > 300 && refused > 1000, `${read} read, ${refused} refused`);
    assert.ok(Date.now() - began < 20_000, `${Date.now() - began} ms`);
  });
});
