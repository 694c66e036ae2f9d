/*
 * bzip2 has no specification; what its format is was taken from bzip2 1.0.8's decompress.c and from
 * https://github.com/dsnet/compress/blob/master/doc/bzip2-format.pdf ("BZIP2: Format Specification", Joe Tsai).
 */

/** "BZh" */
const MAGIC = 0x425a68;
/** The digits of pi and of its square root: what begins a block and what ends a stream. */
const BLOCK = [0x314159, 0x265359] as const;
const END = [0x177245, 0x385090] as const;
/** Symbols of one block that are coded with one tree. */
const GROUP = 50;
const MAX_CODE_BITS = 20;
/** Of a run's length; bzip2 itself takes no longer one, whatever is left in the block. */
const MAX_RUN_BITS = 20;
/** All that the next steps may read before they look again whether there is enough: a group of the longest codes. */
const AHEAD = (GROUP * MAX_CODE_BITS) / 8 + 8;
/** Of what is handed on at a time. */
const PIECE = 256 * 1024;

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let i = 0; i < 8; i++) crc = (crc << 1) ^ (crc < 0 ? 0x04c11db7 : 0);
  return crc;
});

/** Bits of a source, the highest of each byte first. */
class Bits {
  readonly #source: AsyncIterator<Uint8Array>;
  #bytes: Uint8Array = new Uint8Array();
  #at = 0;
  #held = 0;
  #count = 0;

  constructor(source: AsyncIterator<Uint8Array>) {
    this.#source = source;
  }

  get isShort(): boolean {
    return this.#bytes.length - this.#at < AHEAD;
  }

  /** Reads on until there is enough for the next steps, or no more. */
  async fill(): Promise<void> {
    while (this.isShort) {
      const next = await this.#source.next();
      if (next.done === true) return;
      this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), next.value]);
      this.#at = 0;
    }
  }

  /** The next bits as a number; 24 at most. */
  take(count: number): number {
    while (this.#count < count) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new Error('unexpected end of data');
      this.#held = (this.#held << 8) | byte;
      this.#count += 8;
    }
    this.#count -= count;
    return (this.#held >>> this.#count) & ((1 << count) - 1);
  }

  take32(): number {
    return (this.take(16) << 16) | this.take(16);
  }

  /** Goes to the next whole byte, and says whether there is one. */
  async more(): Promise<boolean> {
    this.#count = 0;
    await this.fill();
    return this.#at < this.#bytes.length;
  }
}

/** A canonical prefix code. */
interface Tree {
  readonly shortest: number;
  /** By length: the last code of it, and what is to be taken from one to have its place in `symbols`. */
  readonly last: Int32Array;
  readonly offset: Int32Array;
  readonly symbols: Uint16Array;
}

function treeOf(lengths: Uint8Array): Tree {
  const last = new Int32Array(MAX_CODE_BITS + 1).fill(-1);
  const offset = new Int32Array(MAX_CODE_BITS + 1);
  const symbols = new Uint16Array(lengths.length);
  let [code, placed] = [0, 0];
  for (let length = 1; length <= MAX_CODE_BITS; length++, code <<= 1) {
    offset[length] = code - placed;
    lengths.forEach((one, symbol) => {
      if (one !== length) return;
      symbols[placed++] = symbol;
      last[length] = code++;
    });
  }
  return { shortest: Math.min(...lengths), last, offset, symbols };
}

function symbolIn({ shortest, last, offset, symbols }: Tree, bits: Bits): number {
  let code = bits.take(shortest);
  for (let length = shortest; length <= MAX_CODE_BITS; length++, code = (code << 1) | bits.take(1)) {
    if (code > (last[length] ?? -1)) continue;
    const symbol = symbols[code - (offset[length] ?? 0)];
    if (symbol === undefined) break;
    return symbol;
  }
  throw new Error('a code that is none');
}

/** Which bytes are in a block: 16 bits say which sixteenths of them are, and 16 more of each of these which of it. */
function readAlphabet(bits: Bits): Uint8Array {
  const parts = bits.take(16);
  const bytes: number[] = [];
  for (let part = 0; part < 16; part++) {
    const present = (parts >> (15 - part)) & 1 ? bits.take(16) : 0;
    for (let i = 0; i < 16; i++) if ((present >> (15 - i)) & 1) bytes.push(part * 16 + i);
  }
  return Uint8Array.from(bytes);
}

/** Takes what is at this place of a list, and puts it in front. */
function toFront(list: Uint8Array, at: number): number {
  const value = list[at];
  if (value === undefined) throw new Error('a place outside a list');
  list.copyWithin(1, 0, at);
  list[0] = value;
  return value;
}

/** The trees of a block, and for each group of symbols which of them it is coded with. */
async function readTrees(bits: Bits, symbols: number): Promise<{ trees: Tree[]; selectors: Uint8Array }> {
  const count = bits.take(3);
  if (count < 2 || count > 6) throw new Error(`${count} trees`);
  const order = Uint8Array.from({ length: count }, (_, i) => i);
  const selectors = new Uint8Array(bits.take(15));
  for (let i = 0; i < selectors.length; i++) {
    if (bits.isShort) await bits.fill();
    let at = 0;
    while (bits.take(1) === 1 && at < count) at++;
    selectors[i] = toFront(order, at);
  }
  const trees: Tree[] = [];
  while (trees.length < count) {
    const lengths = new Uint8Array(symbols);
    let length = bits.take(5);
    for (let i = 0; i < symbols; i++) {
      for (;;) {
        if (bits.isShort) await bits.fill();
        if (length < 1 || length > MAX_CODE_BITS) throw new Error(`a code of ${length} bits`);
        if (bits.take(1) === 0) break;
        length += bits.take(1) === 0 ? 1 : -1;
      }
      lengths[i] = length;
    }
    trees.push(treeOf(lengths));
  }
  return { trees, selectors };
}

/** A block of the stream as it was sorted: how many bytes, and which of them comes first. */
interface Block {
  readonly length: number;
  readonly first: number;
  readonly crc: number;
}

/** Reads a block into `sorted`: a byte in the low 8 bits of each. */
async function readBlock(bits: Bits, sorted: Uint32Array): Promise<Block> {
  const crc = bits.take32();
  if (bits.take(1) === 1) throw new Error('a block of before bzip2 0.9.5');
  const first = bits.take(24);
  const alphabet = readAlphabet(bits);
  if (alphabet.length === 0) throw new Error('a block of no bytes');
  const end = alphabet.length + 1;
  const { trees, selectors } = await readTrees(bits, end + 1);
  let [length, run, runBits] = [0, 0, 0];
  for (const selector of selectors) {
    const tree = trees[selector];
    if (tree === undefined) throw new Error('a tree that is not there');
    if (bits.isShort) await bits.fill();
    for (let i = 0; i < GROUP; i++) {
      const symbol = symbolIn(tree, bits);
      if (symbol < 2) {
        // A run of the byte in front; its length is in digits 1 and 2 of base 2, the lowest first.
        if (runBits > MAX_RUN_BITS) throw new Error('a run that is too long');
        run += (symbol + 1) << runBits++;
        continue;
      }
      if (length + run > sorted.length) throw new Error('a block that is too long');
      sorted.fill(alphabet[0] ?? 0, length, length + run);
      length += run;
      run = runBits = 0;
      if (symbol === end) {
        if (first >= length) throw new Error('a block that begins outside itself');
        return { length, first, crc };
      }
      if (length === sorted.length) throw new Error('a block that is too long');
      sorted[length++] = toFront(alphabet, symbol - 1);
    }
  }
  throw new Error('a block without an end');
}

/** Undoes the sorting: in the high 24 bits of each byte stands which one follows it. */
function chain(sorted: Uint32Array, length: number): void {
  const starts = new Uint32Array(257);
  const byteAt = (i: number) => (sorted[i] ?? 0) & 0xff;
  for (let i = 0; i < length; i++) starts[byteAt(i) + 1] = (starts[byteAt(i) + 1] ?? 0) + 1;
  for (let byte = 1; byte <= 256; byte++) starts[byte] = (starts[byte] ?? 0) + (starts[byte - 1] ?? 0);
  for (let i = 0; i < length; i++) {
    const byte = byteAt(i);
    const at = starts[byte] ?? 0;
    starts[byte] = at + 1;
    sorted[at] = ((sorted[at] ?? 0) | (i << 8)) >>> 0;
  }
}

/** The bytes of a block in pieces: after four that are the same it says how many more there are of them. */
function* unrun(sorted: Uint32Array, { length, first, crc }: Block): Generator<Uint8Array> {
  let piece = Buffer.allocUnsafe(PIECE);
  let [at, now, same, last] = [0, -1, 0, -1];
  let next = (sorted[first] ?? 0) >>> 8;
  for (let i = 0; i < length; i++) {
    const entry = sorted[next] ?? 0;
    next = entry >>> 8;
    const byte = entry & 0xff;
    let copies = 1;
    if (same === 4) {
      copies = byte;
      same = 0;
    } else {
      same = byte === last ? same + 1 : 1;
      last = byte;
    }
    if (at + copies > PIECE) {
      yield piece.subarray(0, at);
      piece = Buffer.allocUnsafe(PIECE);
      at = 0;
    }
    for (; copies > 0; copies--) {
      now = (now << 8) ^ (CRC_TABLE[(now >>> 24) ^ last] ?? 0);
      piece[at++] = last;
    }
  }
  if (~now !== crc) throw new Error('a wrong checksum');
  yield piece.subarray(0, at);
}

/**
 * The unpacked bytes of one bzip2 stream or of several in a row, as parallel packers write them. Holds one block, of
 * 900 kB before its runs, and some pieces: a block of a few bytes can unpack to 46 MB.
 * @throws Error when they are cut off or damaged, or when anything else follows
 */
export async function* bunzip2(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  try {
    const bits = new Bits(chunks);
    let sorted = new Uint32Array();
    do {
      await bits.fill();
      const level = bits.take(24) === MAGIC ? bits.take(8) - 0x30 : 0;
      if (level < 1 || level > 9) throw new Error('no bzip2 data');
      if (sorted.length !== level * 100_000) sorted = new Uint32Array(level * 100_000);
      let combined = 0;
      for (;;) {
        await bits.fill();
        const [high, low] = [bits.take(24), bits.take(24)];
        if (high === END[0] && low === END[1]) break;
        if (high !== BLOCK[0] || low !== BLOCK[1]) throw new Error('no block where one should be');
        const block = await readBlock(bits, sorted);
        combined = ((combined << 1) | (combined >>> 31)) ^ block.crc;
        chain(sorted, block.length);
        yield* unrun(sorted, block);
      }
      if (bits.take32() !== combined) throw new Error('a wrong checksum');
    } while (await bits.more());
  } finally {
    await chunks.return?.();
  }
}
