/** Made-up input for tests: the same for the same seed. */
export type Random = (below: number) => number;

/** Marsaglia, "Xorshift RNGs" (2003). */
export function randomOf(seed: number): Random {
  let state = (seed * 2654435761 + 1) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

const WORDS =
  'the of and a layer blob manifest index digest usr lib share python3 = ( ) { } \n \t 0 1 12 755 root'.split(
    ' ',
  );

const KINDS = {
  zeros: (bytes) => bytes.fill(0),
  random: (bytes, random) => {
    bytes.forEach((_, i) => (bytes[i] = random(256)));
  },
  fewSymbols(bytes, random) {
    const symbols = 1 + random(8);
    bytes.forEach((_, i) => (bytes[i] = random(symbols) * 31));
  },
  period(bytes, random) {
    const period = 1 + random(300);
    bytes.forEach((_, i) => (bytes[i] = i < period ? random(256) : (bytes[i - period] ?? 0)));
  },
  text(bytes, random) {
    for (let at = 0; at < bytes.length;) {
      const word = Buffer.from(`${WORDS[random(WORDS.length)] ?? ''} `).subarray(0, bytes.length - at);
      bytes.set(word, at);
      at += word.length;
    }
  },
  /** Counts that double from symbol to symbol: codes longer than deflate allows without a limit. */
  skewed(bytes, random) {
    bytes.forEach(
      (_, i) => (bytes[i] = Math.clz32(random(2 ** 32)) * 7 + (random(9) === 0 ? random(256) : 0)),
    );
  },
  /** Copies of what came before, at any distance and of any length, between a few new bytes. */
  copies(bytes, random) {
    for (let at = 0; at < bytes.length;) {
      const back = 1 + random(Math.min(at + 1, random(3) === 0 ? 70_000 : 300));
      const length = at === 0 || random(4) === 0 ? 0 : 1 + random(random(5) === 0 ? 600 : 20);
      for (let i = 0; i < length && at < bytes.length; i++, at++) bytes[at] = bytes[at - back] ?? 0;
      for (let i = random(6); i >= 0 && at < bytes.length; i--) bytes[at++] = random(256);
    }
  },
  /** Random and compressible stretches in turn: blocks of different forms. */
  mixed(bytes, random) {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + 1 + random(100_000));
      const value = random(256);
      if (random(2) === 0) part.forEach((_, i) => (part[i] = random(256)));
      else part.fill(value);
      at += part.length;
    }
  },
} satisfies Record<string, (bytes: Uint8Array, random: Random) => unknown>;

export type Kind = keyof typeof KINDS;
export const kinds = Object.keys(KINDS) as Kind[];

export function sampleOf(kind: Kind, size: number, random: Random): Uint8Array {
  const bytes = new Uint8Array(size);
  KINDS[kind](bytes, random);
  return bytes;
}
