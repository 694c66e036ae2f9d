import ssri, { type Integrity } from 'ssri';
import { parseDigest, type Algorithm, type Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';

/** A digest under way. */
export interface Hasher {
  update(chunk: Uint8Array): void;
  digest(): Digest;
}

export function createHasher(algorithm: Algorithm): Hasher {
  const hash = ssri.create({ algorithms: [algorithm] });
  return {
    update: (chunk) => void hash.update(chunk),
    digest: () => {
      // @types/ssri takes this for a node:crypto hash; ssri's gives an Integrity (ssri lib/index.js createIntegrity).
      const integrity = hash.digest() as unknown as Integrity;
      return parseDigest(`${algorithm}:${integrity.hexDigest()}`, 'computed digest');
    },
  };
}

export function digestOf(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): Digest {
  const hasher = createHasher(algorithm);
  hasher.update(bytes);
  return hasher.digest();
}

/** What bytes are said to be. */
export interface Expected {
  readonly digest: Digest;
  readonly size: number;
}

/**
 * Passes only if the bytes are what they are said to be. Text is compared with text: ssri's own comparison reads
 * `sha256:<hex>` as nothing to check and accepts any bytes.
 * @throws ImgconvError DIGEST_MISMATCH with both digests, both sizes and the file
 */
export function expectDigest(expected: Expected, actual: Expected, where: string): void {
  if (expected.size === actual.size && expected.digest === actual.digest) return;
  if (expected.digest === actual.digest)
    throw new ImgconvError(
      'DIGEST_MISMATCH',
      `${where}: expected ${expected.size} bytes, as its descriptor says, found ${actual.size}; the digest is right`,
      {
        hint: 'the size in the descriptor is wrong, not the file: fetch the image again, or convert the others without it',
      },
    );
  throw new ImgconvError(
    'DIGEST_MISMATCH',
    `${where}: expected ${expected.digest} (${expected.size} bytes), found ${actual.digest} (${actual.size} bytes)`,
    { hint: 'the file is damaged or was cut off: fetch it again, or convert the other images without it' },
  );
}

/** @throws ImgconvError DIGEST_MISMATCH when a file cannot be the blob because its size differs */
export function expectSize(expected: Expected, size: number, where: string): void {
  if (expected.size === size) return;
  throw new ImgconvError(
    'DIGEST_MISMATCH',
    `${where}: ${expected.digest} has ${expected.size} bytes, the file has ${size}`,
    { hint: 'the file is damaged or was cut off: fetch it again, or convert the other images without it' },
  );
}
