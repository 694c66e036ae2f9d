/**
 * Where everything lies. The memory is static: nothing is allocated.
 *
 *     0x010000  code lengths     of literals that are tried
 *     0x020000  sequences        8 bytes each, 16384 at most
 *     0x060000  package-merge    ../deflate/layout.ts
 *     0x072000  Huffman tables   the same
 *     0x080000  short table      32768 i32
 *     0x0a0000  long table       32768 pairs of i32
 *     0x120000  history          the last blocks, one after another
 *     0x180000  block            what is to be compressed next
 *     0x1a0000  output
 */

/** No match begins in so many bytes at the end of a block. */
export const MARGIN: i32 = 11;
/** How far back a match may lie. */
export const FARTHEST: i32 = 32768;
/** Deflate's longest match (RFC 1951, 3.2.5). */
export const LONGEST: i32 = 258;
/** The most bytes of one block: the most that a stored block holds (RFC 1951, 3.2.4). */
export const BLOCK_SIZE: i32 = 65535;

/** 288 u8: code lengths of literals that are tried. */
export const SPARE_LENGTHS: usize = 0x10000;
/** A run of literals and the match after it, as in ../deflate/layout.ts. */
export const SEQUENCES: usize = 0x20000;
export const SHORT_TABLE: usize = 0x80000;
export const LONG_TABLE: usize = 0xa0000;
export const TABLES_END: usize = 0xe0000;
export const HISTORY: usize = 0x120000;
export const BLOCK: usize = 0x180000;
export const OUTPUT: usize = 0x1a0000;
