import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What is read, compressed and handed between threads at once. */
export const BUFFER_SIZE = 1024 * 1024;

/** Deflate's window (RFC 1951): all that a piece can refer back to. */
export const WINDOW = 32 * 1024;

/** More than the pieces that are under way need not be kept. */
const MOST = 16;
const free: ArrayBuffer[] = [];

/**
 * Memory for one chunk, not zeroed. V8 lets 64 MB of such memory become garbage in each thread before it looks for
 * it, so what goes round is given back with `giveBuffer`; forgetting to costs only memory.
 */
export function takeBuffer(): ArrayBuffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_SIZE).buffer;
}

/** For a buffer from `takeBuffer` that nobody uses any more. */
export function giveBuffer(buffer: ArrayBufferLike): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === BUFFER_SIZE && free.length < MOST)
    free.push(buffer);
}

/** So much may pass before what it left is collected. */
const COLLECT_EVERY = 4 * 1024 * 1024;
let passed = 0;
let collect: ((options: { type: 'minor' }) => void) | undefined;

/**
 * To be told of bytes that pass through memory of their own, as chunks of streams and results of zlib do: V8 would
 * let 64 MB of them lie in each thread. A minor collection takes about a millisecond.
 */
export function notePassing(bytes: number): void {
  passed += bytes;
  if (passed < COLLECT_EVERY) return;
  passed = 0;
  if (collect === undefined) {
    // The documented way to a collector without a flag on the command line (Node API, v8.setFlagsFromString).
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as (options: { type: 'minor' }) => void;
  }
  collect({ type: 'minor' });
}

/** Well above `Buffer.poolSize`, so that nothing else lies in the same memory. */
const OWN = 64 * 1024;

/** Lets go of what a library allocated for bytes that nobody uses any more: they have no length after it. */
export function dropBytes({ buffer }: Uint8Array): void {
  if (buffer.byteLength <= OWN || !(buffer instanceof ArrayBuffer)) return;
  // ECMAScript 2024, Node 21 and later: there, a minor collection no longer frees the memory.
  if ('transfer' in buffer) (buffer as ArrayBuffer & { transfer(length: number): ArrayBuffer }).transfer(0);
  else notePassing(buffer.byteLength);
}
