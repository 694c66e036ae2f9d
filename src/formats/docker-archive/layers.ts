import { decompress, MAGIC_LENGTH, sniffPacking } from '../../codecs/decompress.js';
import type { Pool } from '../../threads/pool.js';
import { digestOf } from '../../bytes/hash.js';
import { headOf, shownName, type LocalBytes } from '../../bytes/region.js';
import type { TarIndex } from '../../codecs/tar-index.js';
import type { Spool } from '../../codecs/tar-pipe.js';
import { VerifiedBlob } from '../../proof/verified-blob.js';
import type { Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';

/** Layers by their names in the archive, each read once however often it is named. */
export class Layers {
  readonly #index: TarIndex;
  readonly #pool: Pool;
  readonly #spool: Spool;
  readonly #digests = new Map<LocalBytes, Promise<Digest>>();
  readonly #unpacked = new Map<LocalBytes, Promise<LocalBytes>>();

  /** `spool` takes what layers have to be unpacked to. */
  constructor(index: TarIndex, pool: Pool, spool: Spool) {
    this.#index = index;
    this.#pool = pool;
    this.#spool = spool;
  }

  at(name: string): LocalBytes | undefined {
    return this.#index.get(name);
  }

  digestOf(at: LocalBytes): Promise<Digest> {
    const digest = this.#digests.get(at) ?? this.#hash(at);
    this.#digests.set(at, digest);
    return digest;
  }

  /** What was staged or passed was hashed then. */
  async #hash(at: LocalBytes): Promise<Digest> {
    if (at.kind === 'memory') return digestOf(at.bytes);
    if (at.kind === 'dropped') return at.digest;
    if (at.staged !== undefined) return at.staged.digest;
    return (await this.#pool.scan({ kind: 'scan', from: at, algorithm: 'sha256' })).digest;
  }

  /** The digest of the layer's tar, decompressed if it is compressed. */
  async diffIdOf(at: LocalBytes): Promise<Digest> {
    const packing = sniffPacking(headOf(at, MAGIC_LENGTH));
    if (packing === 'xz' || packing === 'bzip2') return this.digestOf(await this.unpacked(at, packing));
    const digest = await this.digestOf(at);
    if (packing === 'none') return digest;
    return VerifiedBlob.at(at, { digest, size: at.size }, this.#pool).diffId();
  }

  /** The layer's tar. @throws ImgconvError DIGEST_MISMATCH when it is damaged */
  unpacked(at: LocalBytes, packing: 'xz' | 'bzip2'): Promise<LocalBytes> {
    const unpacked = this.#unpacked.get(at) ?? this.#unpack(at, packing);
    this.#unpacked.set(at, unpacked);
    return unpacked;
  }

  async #unpack(at: LocalBytes, packing: 'xz' | 'bzip2'): Promise<LocalBytes> {
    const where = shownName(at);
    if (at.kind === 'dropped') {
      const { unpacked } = at;
      if (unpacked === undefined)
        throw new ImgconvError('DIGEST_MISMATCH', `${where}: cut off, or damaged ${packing} data`);
      return { kind: 'dropped', path: at.path, head: new Uint8Array(), ...unpacked };
    }
    const digest = await this.digestOf(at);
    const packed = VerifiedBlob.at(at, { digest, size: at.size }, this.#pool).chunks();
    return this.#spool.add(where, decompress(packed, packing, where), at.size);
  }
}
