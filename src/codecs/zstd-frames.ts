/** Little-endian, as all numbers in a frame. */
const MAGIC = 0xfd2fb528;
/** Any of sixteen: a frame of somebody else's data, to be passed over. */
const SKIPPABLE = 0x184d2a50;
const MAGIC_LENGTH = 4;
const BLOCK_HEADER = 3;
const CHECKSUM = 4;
const RLE = 1;
const RESERVED = 3;
/** Of a frame. Each may be a few bytes that unpack to 128 KiB (RFC 8878, 3.1.1.2.4). */
const BLOCKS_AT_ONCE = 16;

/**
 * Follows the frames of a zstd stream (RFC 8878, 3.1) from header to header. It hears of each one's window before the
 * decoder makes room for it, since a few bytes can ask for gigabytes; and it cuts between frames, since Node's decoder
 * takes what follows a frame in one piece with it for garbage (Node 22.15 to 24, lib/zlib.js processCallback). It also
 * cuts after some blocks: a decoder in JavaScript unpacks all of a piece before any of it can be handed on. What is no
 * frame is left to the decoder.
 */
export class ZstdFrames {
  readonly #maxWindow: number;
  /** What was seen of the header at hand, and how much of it there has to be. */
  #head = Buffer.alloc(0);
  #want = MAGIC_LENGTH;
  #read: (head: Buffer) => void = (head) => {
    this.#magic(head);
  };
  /** So many bytes come before the next header; Infinity once nothing more is known. */
  #skip = 0;
  /** What comes next, after what is skipped, is a frame. */
  #isBetween = true;
  /** Since the last cut. */
  #blocks = 0;

  constructor(maxWindow: number) {
    this.#maxWindow = maxWindow;
  }

  /** The piece, cut where frames end and between blocks. @throws Error when a frame that begins in it needs a larger window */
  split(chunk: Uint8Array): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    let start = 0;
    for (let at = 0; at < chunk.length;) {
      const passed = Math.min(this.#skip, chunk.length - at);
      this.#skip -= passed;
      at += passed;
      const isCut = this.#isBetween || this.#blocks >= BLOCKS_AT_ONCE;
      if (isCut && this.#skip === 0 && this.#head.length === 0 && at > start) {
        pieces.push(chunk.subarray(start, at));
        start = at;
        this.#blocks = 0;
      }
      const part = chunk.subarray(at, at + this.#want - this.#head.length);
      this.#head = Buffer.concat([this.#head, part]);
      at += part.length;
      if (this.#head.length === this.#want) this.#read(this.#head);
    }
    if (start < chunk.length) pieces.push(chunk.subarray(start));
    return pieces;
  }

  #next(skip: number, want: number, read: (head: Buffer) => void): void {
    this.#head = Buffer.alloc(0);
    this.#skip = skip;
    this.#want = want;
    this.#read = read;
    this.#isBetween = false;
  }

  #frame(skip: number): void {
    this.#next(skip, MAGIC_LENGTH, (head) => {
      this.#magic(head);
    });
    this.#isBetween = true;
  }

  #magic(head: Buffer): void {
    const magic = head.readUInt32LE();
    if (magic === MAGIC)
      this.#next(0, 1, (descriptor) => {
        this.#descriptor(descriptor.readUInt8());
      });
    else if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE)
      this.#next(0, 4, (size) => {
        this.#frame(size.readUInt32LE());
      });
    else this.#frame(Infinity);
  }

  #descriptor(flags: number): void {
    const isSingle = (flags & 0x20) !== 0;
    const sizeLength = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;
    const beforeSize = (isSingle ? 0 : 1) + ([0, 1, 2, 4][flags & 3] ?? 0);
    const hasChecksum = (flags & 4) !== 0;
    this.#next(0, beforeSize + sizeLength, (head) => {
      const window = isSingle ? numberIn(head.subarray(beforeSize)) : windowOf(head.readUInt8());
      if (window > this.#maxWindow) throw new Error(`a window of ${window} bytes`);
      this.#block(0, hasChecksum);
    });
  }

  #block(skip: number, hasChecksum: boolean): void {
    this.#next(skip, BLOCK_HEADER, (head) => {
      this.#blocks++;
      const bits = head.readUIntLE(0, BLOCK_HEADER);
      const type = (bits >> 1) & 3;
      const length = type === RLE ? 1 : bits >> 3;
      if (type === RESERVED) this.#frame(Infinity);
      else if ((bits & 1) === 0) this.#block(length, hasChecksum);
      else this.#frame(length + (hasChecksum ? CHECKSUM : 0));
    });
  }
}

/** A frame of one segment has its content for a window; a size of two bytes leaves out the first 256. */
function numberIn(size: Buffer): number {
  if (size.length === 8) return Number(size.readBigUInt64LE());
  return size.readUIntLE(0, size.length) + (size.length === 2 ? 256 : 0);
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}
