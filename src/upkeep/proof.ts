import { randomBytes } from 'node:crypto';
import { sizeOf } from '../bytes/chunks.js';
import { idNow, isStill, stateOf, stateText, type FileId } from '../bytes/file-id.js';
import { createHasher, digestOf, expectDigest, type Expected } from '../bytes/hash.js';
import type { Bytes, FileBytes } from '../bytes/region.js';
import { TarCheck } from '../codecs/tar-check.js';
import { algorithmOf, hexOf, type Digest } from '../model/digest.js';
import { DigestMap } from '../model/digest-map.js';
import { asImgconvError, type ImgconvError } from '../model/errors.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Count } from '../transfer/report.js';

type Outcome = Promise<ImgconvError | undefined>;

/** What is known of a claim while the first file is read, and afterwards if that is more than that this file is right. */
interface Proof {
  /** Of the first file. */
  readonly first: Outcome;
  /** By what tells a content from another one that took its place; the first is among them once it is read. */
  readonly byContent: Map<string, Outcome>;
  /** Somebody asked while the first one was read, and may add to `byContent`. */
  isShared: boolean;
}

/** What is to be proved: that a blob has this digest and a size, or that a layer of this digest unpacks to a diffID. */
interface Claim {
  readonly digest: Digest;
  readonly as: 'blobs' | 'layers';
  readonly what: string;
}

/**
 * Proves blobs of a place, each content once, however many images name it and under however many names it lies there.
 * Undefined means that the bytes are right, an error says what is wrong.
 */
export class Proofs {
  readonly #pool: Pool;
  readonly #onBytes: ((count: number) => void) | undefined;
  /** By the text of the claim. */
  readonly #known = new Map<string, Proof>();
  /** The seal of the first thing proved of each digest: of files that are right, of layers that unpack to what they should. */
  readonly #right = { blobs: new DigestMap(), layers: new DigestMap() };
  /** Without it, nobody can make a file that has the seal of another one. */
  readonly #secret = randomBytes(16).toString('hex');
  /** Blobs that were downloaded: that is done once, whichever repositories have them. */
  readonly #downloaded = new Set<Digest>();
  readonly #inMemory = new WeakMap<Uint8Array, number>();
  #numbered = 0;
  #blobs = 0;
  #bytes = 0;

  constructor(pool: Pool, onBytes?: (count: number) => void) {
    this.#pool = pool;
    this.#onBytes = onBytes;
  }

  /** What was read. */
  get count(): Count {
    return { blobs: this.#blobs, bytes: this.#bytes };
  }

  /** That these bytes have this digest and size; where nothing says the size, it is that of the file. */
  async ofBlob(at: Bytes, digest: Digest, size: number | undefined): Promise<ImgconvError | undefined> {
    return this.#once({ digest, as: 'blobs', what: String(size ?? '') }, at, async () => {
      const blob = this.#blobAt(at, digest, size ?? (await sizeOf(at)));
      const id = await blob.prove();
      this.#count(at, blob);
      return id;
    });
  }

  /** As `ofBlob`, with the bytes, if they are right and no more than `limit`. */
  async ofDocument(at: Bytes, { digest, size }: Expected, limit: number): Promise<Uint8Array | ImgconvError> {
    let bytes: Uint8Array | undefined;
    const error = await this.#once({ digest, as: 'blobs', what: String(size) }, at, () =>
      stateDuring(at, async () => {
        const blob = this.#blobAt(at, digest, size);
        bytes = await blob.read(limit);
        this.#count(at, blob);
      }),
    );
    if (error !== undefined) return error;
    if (bytes !== undefined) return bytes;
    const again = VerifiedBlob.at(at, { digest, size }, this.#pool).read(limit);
    return (await outcomeOf(at, again)) ?? again;
  }

  #blobAt(at: Bytes, digest: Digest, size: number): VerifiedBlob {
    return VerifiedBlob.at(at, { digest, size }, this.#pool, { onBytes: this.#onBytes });
  }

  #count({ kind }: Bytes, { digest, size }: Expected): void {
    if (kind === 'remote' && this.#downloaded.has(digest)) return;
    if (kind === 'remote') this.#downloaded.add(digest);
    this.#blobs++;
    this.#bytes += size;
  }

  /** That a layer unpacks to this diffID, and that what it unpacks to is a tar. */
  async ofLayer(at: Bytes, digest: Digest, size: number, diffId: Digest): Promise<ImgconvError | undefined> {
    const unpack = async () => {
      const where = `${at.path}: unpacked`;
      const hasher = createHasher(algorithmOf(diffId));
      const tar = new TarCheck(where, { layer: true });
      let unpacked = 0;
      let malformed: unknown;
      for await (const chunk of this.#blobAt(at, digest, size).uncompressed()) {
        hasher.update(chunk);
        unpacked += chunk.length;
        try {
          if (malformed === undefined) tar.push(chunk);
        } catch (error) {
          malformed = error;
        }
      }
      expectDigest({ digest: diffId, size: unpacked }, { digest: hasher.digest(), size: unpacked }, where);
      if (malformed !== undefined) throw asImgconvError(malformed, where);
      tar.end();
    };
    return this.#once({ digest, as: 'layers', what: diffId }, at, () => stateDuring(at, unpack));
  }

  /** Tells one content from another that took its place. */
  #contentOf(at: Bytes): string {
    if (at.kind === 'file') return fileContent(at, stateOf(at.path));
    if (at.kind !== 'memory') return at.path;
    const number = this.#inMemory.get(at.bytes) ?? this.#numbered++;
    this.#inMemory.set(at.bytes, number);
    return `${number} ${at.path}`;
  }

  /** `work` may give the state of the file that it read. */
  async #once(claim: Claim, at: Bytes, work: () => Promise<FileId | undefined>): Outcome {
    const { digest, as } = claim;
    const key = `${as} ${digest} ${claim.what}`;
    const known = this.#known.get(key);
    const seal = this.#right[as].get(digest);
    if (known === undefined && seal === undefined) return this.#first(claim, key, at, work);
    const content = this.#contentOf(at);
    if (seal !== undefined && seal === this.#sealOf(claim, content)) return undefined;
    const proof = known ?? {
      first: Promise.resolve(undefined),
      byContent: new Map<string, Outcome>(),
      isShared: true,
    };
    proof.isShared = true;
    this.#known.set(key, proof);
    await proof.first;
    const outcome = proof.byContent.get(content) ?? outcomeOf(at, work());
    proof.byContent.set(content, outcome);
    return outcome;
  }

  #first(claim: Claim, key: string, at: Bytes, work: () => Promise<FileId | undefined>): Outcome {
    const byContent = new Map<string, Outcome>();
    let read: FileId | undefined;
    const first = outcomeOf(
      at,
      work().then((id) => (read = id)),
    ).then((outcome) => {
      const isRight = outcome === undefined;
      const state = read && stateText(read);
      const content = at.kind === 'file' && isRight ? state && fileContent(at, state) : this.#contentOf(at);
      // Another file may have come in the place of the one that was right.
      if (content === undefined) return outcome;
      byContent.set(content, first);
      const right = this.#right[claim.as];
      if (at.kind === 'file' && isRight && !proof.isShared && !right.has(claim.digest)) {
        right.set(claim.digest, this.#sealOf(claim, content));
        this.#known.delete(key);
      }
      return outcome;
    });
    const proof: Proof = { first, byContent, isShared: false };
    this.#known.set(key, proof);
    return first;
  }

  /** 48 bits that stand for what was proved of a content. */
  #sealOf({ digest, what }: Claim, content: string): number {
    const text = Buffer.from(`${this.#secret} ${digest} ${what} ${content}`);
    return parseInt(hexOf(digestOf(text)).slice(0, 12), 16);
  }
}

/** What work reads by its path: its state, if that was the same before and after. */
async function stateDuring(at: Bytes, work: () => Promise<void>): Promise<FileId | undefined> {
  const before = at.kind === 'file' ? idNow(at.path) : undefined;
  await work();
  return before !== undefined && isStill(at.path, before) ? before : undefined;
}

function outcomeOf(at: Bytes, work: Promise<unknown>): Outcome {
  return work.then(
    () => undefined,
    (error: unknown) => {
      const known = asImgconvError(error, at.path);
      if (known.code === 'INTERRUPTED') throw known;
      return known;
    },
  );
}

function fileContent({ offset }: FileBytes, state: string): string {
  return `${offset} ${state}`;
}
