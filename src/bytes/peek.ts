/** A stream whose first bytes were looked at. */
export interface Peeked {
  /** At least as many as were asked for, unless the stream has fewer. */
  readonly head: Uint8Array;
  /** All of it, the head included. */
  readonly whole: AsyncGenerator<Uint8Array>;
}

export async function peek(chunks: AsyncIterable<Uint8Array>, length: number): Promise<Peeked> {
  const iterator = chunks[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, undefined>;
  const first: Uint8Array[] = [];
  for (let have = 0; have < length;) {
    const next = await iterator.next();
    if (next.done === true) break;
    first.push(next.value);
    have += next.value.length;
  }
  async function* whole() {
    try {
      yield* first;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
        yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { head: Buffer.concat(first), whole: whole() };
}
