/** What is read, compressed and handed between threads at once. */
export const BUFFER_SIZE = 1024 * 1024;

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
