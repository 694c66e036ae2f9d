/**
 * Where everything lies. The memory is static: nothing is allocated.
 *
 *     0x010000  counts, codes, and what they are made with
 *     0x020000  tokens           65536 u32
 *     0x070000  short table      32768 i32
 *     0x090000  long table       32768 pairs of i32
 *     0x120000  history          the last blocks, one after another
 *     0x180000  block            what is to be compressed next
 *     0x1a0000  output
 */

/** How far back a match may lie. */
export const FARTHEST: i32 = 32768;
/** The most bytes of one block: the most that a stored block holds (RFC 1951, 3.2.4). */
export const BLOCK_SIZE: i32 = 65535;

export const END_OF_BLOCK: usize = 256;
export const LITERAL_SYMBOLS: usize = 286;
export const OFFSET_SYMBOLS: usize = 30;
export const LENGTH_SYMBOLS: usize = 19;

/** 288 u32: how often each literal and length occurs in the tokens. */
export const LITERAL_HISTOGRAM: usize = 0x10000;
/** 32 u32: the same for offsets. */
export const OFFSET_HISTOGRAM: usize = 0x10480;
/** 288 and 32 u32: the same as the code of the block is made of it. */
export const LITERAL_COUNTS: usize = 0x10500;
export const OFFSET_COUNTS: usize = 0x10980;
/** 19 u32: how often each symbol occurs that code lengths are written in. */
export const LENGTH_COUNTS: usize = 0x10a00;
/** Codes are u32: code << 8 | its length. Two of 288 literals and lengths, and those of 32 offsets. */
export const LITERAL_CODES: usize = 0x10b00;
export const SPARE_CODES: usize = 0x10f80;
export const OFFSET_CODES: usize = 0x11400;
/** The codes of RFC 1951, 3.2.6. */
export const FIXED_LITERAL_CODES: usize = 0x11500;
export const FIXED_OFFSET_CODES: usize = 0x11980;
/** The one offset of a block without matches. */
export const NO_OFFSET_CODES: usize = 0x11a00;
export const LENGTH_CODES: usize = 0x11a80;
/** 320 pairs of u8: symbol, extra bits; the code lengths as they are written. */
export const HEADER_ITEMS: usize = 0x11b00;
/** 288 u32 twice and 256 u32: to sort symbols in. */
export const SORT_KEYS: usize = 0x12000;
export const SORT_SPARE: usize = 0x12500;
export const SORT_STARTS: usize = 0x12a00;
/** 576 u32 twice: the weights of two neighbouring rows of package-merge. */
export const ROW_WEIGHTS: usize = 0x13000;
export const ROW_SPARE: usize = 0x13a00;
/** 16 rows of 576 u16: how many of the first items of the row are symbols. */
export const ROW_SYMBOLS: usize = 0x14400;
/** 16 u32 each: number of codes of each length, next code of each length. */
export const CODES_OF_LENGTH: usize = 0x19000;
export const NEXT_CODE: usize = 0x19080;
/** 256 u8: for a match length - 3, its symbol - 257. */
export const LENGTH_TO_SYMBOL: usize = 0x19100;
/** 256 u32: for a match length - 3, its code and extra bits, as other codes. */
export const MATCH_CODES: usize = 0x19200;

export const TOKENS: usize = 0x20000;
export const SHORT_TABLE: usize = 0x70000;
export const LONG_TABLE: usize = 0x90000;
export const TABLES_END: usize = 0xd0000;
export const HISTORY: usize = 0x120000;
export const BLOCK: usize = 0x180000;
export const OUTPUT: usize = 0x1a0000;
