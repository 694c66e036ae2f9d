/**
 * Where everything lies. The memory is static: nothing is allocated.
 *
 *     0x0010000  hash table        32768 positions in 16 bits: where four bytes were last
 *     0x0020000  long hash table   32768 buckets of two positions: where eight bytes were last
 *     0x0040000  sequences         8 bytes each; a block has at most BLOCK / 4 + 2
 *     0x0072000  Huffman tables
 *     0x0090000  64 KiB that stay zero, which empty places of the hash table point into
 *     0x00a0000  dictionary        its last byte is before INPUT
 *     0x00a8000  input             and 4 KiB that loads may reach past it
 *     0x01b0000  output
 */

/** Deflate's window (RFC 1951, 2): how far back a match may lie. */
export const WINDOW: usize = 32768;

export const HASH_BITS: u32 = 15;
export const HASH_TABLE: usize = 0x10000;
export const LONG_TABLE: usize = 0x20000;
export const TABLES_SIZE: usize = 6 << HASH_BITS;

/** A run of literals and the match after it: u32 literals << 9 | length, u32 slot << 16 | distance - 1. */
export const SEQUENCES: usize = 0x40000;

/** 288 u32: how often each literal and length symbol occurs in the block. */
export const LITERAL_COUNTS: usize = 0x72000;
/** 32 u32: the same for distance symbols. */
export const DISTANCE_COUNTS: usize = 0x72480;
/** 19 u32: the same for the symbols that code lengths are written in. */
export const LENGTH_COUNTS: usize = 0x72500;
/** 288 + 32 u8: code lengths of literals and lengths, then of distances. */
export const LITERAL_LENGTHS: usize = 0x72600;
export const DISTANCE_LENGTHS: usize = 0x72720;
/** 19 u8: code lengths of code lengths. */
export const LENGTH_LENGTHS: usize = 0x72800;
/** 288 u32: code << 5 | its length, bits in the order of output. */
export const LITERAL_CODES: usize = 0x72900;
/** 32 u32: code << 9 | number of extra bits << 5 | code length. */
export const DISTANCE_CODES: usize = 0x72e00;
/** 19 u32, as LITERAL_CODES. */
export const LENGTH_CODES: usize = 0x72f00;
/** 259 u32: for a match length, its code and extra bits, as LITERAL_CODES. */
export const MATCH_CODES: usize = 0x73000;
/** 259 u8: for a match length, its symbol - 257. */
export const MATCH_SYMBOLS: usize = 0x73500;
/** 320 pairs of u8: symbol, extra bits; the code lengths as they are written. */
export const HEADER_ITEMS: usize = 0x73700;
/** 288 u32 twice and 256 u32: to sort symbols in. */
export const SORT_KEYS: usize = 0x73a00;
export const SORT_SPARE: usize = 0x73f00;
export const SORT_STARTS: usize = 0x74400;
/** 288 u32: weights, then depths, of the Huffman tree. */
export const TREE: usize = 0x74800;
/** 16 u32 each: number of codes of each length, next code of each length. */
export const CODES_OF_LENGTH: usize = 0x74d00;
export const NEXT_CODE: usize = 0x74d80;

export const INPUT: usize = 0xa8000;
export const OUTPUT: usize = 0x1b0000;

/** Package-merge (go-lengths.ts, not used here): two lists of 576 u32, the weights of a level and of the one below. */
export const MERGED: usize = 0x60000;
export const MERGED_SIZE: usize = 0x900;
/** 15 lists of 288 u16: how many of the first 2, 4, 6, … nodes of each level are leaves. */
export const LEAVES: usize = 0x61200;
export const LEAVES_SIZE: usize = 0x240;
