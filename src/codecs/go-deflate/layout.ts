/**
 * Where everything lies. The memory is static: nothing is allocated.
 *
 *     0x0010000  newest positions  131072 u16; at level 1, 16384 u32
 *     0x0050000  older positions   32768 u16
 *     0x0060000  package-merge     ../deflate/layout.ts
 *     0x0072000  Huffman tables    the same
 *     0x0080000  literals          of a block of 16384 tokens
 *     0x0090000  sequences         8 bytes each, 16385 at most
 *     0x00c0000  history           at level 1, the end of the block before
 *     0x00c8000  window            64 KiB, and what loads may reach past it
 *     0x00e0000  output            of 1 MiB of input and of what waited before it
 */

/** Deflate's window (RFC 1951, 2): how far back a match may lie. */
export const FARTHEST: usize = 32768;

/** At levels 2 to 9: for each hash, 1 + the newest position in WINDOW that has it, or 0. */
export const NEWEST: usize = 0x10000;
export const HASH_BITS: u32 = 17;
/** For each position modulo 32768, what NEWEST held before it. */
export const OLDER: usize = 0x50000;
export const OLDER_END: usize = 0x60000;

/** At level 1: for each hash, the newest position in the stream that has it. */
export const TABLE: usize = 0x10000;
export const TABLE_BITS: u32 = 14;

export const LITERALS: usize = 0x80000;
/** A run of literals and the match after it, as in ../deflate/layout.ts. */
export const SEQUENCES: usize = 0x90000;
export const WINDOW: usize = 0xc8000;
export const OUTPUT: usize = 0xe0000;
