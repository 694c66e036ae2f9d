import { removeFile } from '../bytes/link.js';
import type { Expected } from '../bytes/hash.js';
import type { EncoderName } from '../codecs/encoders.js';
import type { Digest } from '../model/digest.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Staging } from '../storage/staging.js';
import type { Pool } from '../threads/pool.js';

/** How and where tars are compressed. */
export interface EncodeContext {
  readonly pool: Pool;
  readonly staging: Staging;
  /** Layers stay the files that they are staged as, which are flushed as they grow. */
  readonly asFiles: boolean;
}

/** The tar of a layer, for encoders: it is unpacked once, if it lies in no file. */
export class LayerTar {
  readonly blob: VerifiedBlob;
  readonly #diffId: Digest;
  readonly #context: EncodeContext;
  #path: string | undefined;
  #inFile: Promise<VerifiedBlob> | undefined;

  constructor(blob: VerifiedBlob, context: EncodeContext, diffId = blob.digest) {
    this.blob = blob;
    this.#diffId = diffId;
    this.#context = context;
  }

  /** Digest and size of what the encoder makes. @throws ImgconvError DIGEST_MISMATCH when the tar is another */
  async sum(encoder: EncoderName): Promise<Expected> {
    return (await (await this.#tar()).encoded({ encoder, diffId: this.#diffId })).encoded;
  }

  /** What the encoder makes, in a staged file. @throws ImgconvError DIGEST_MISMATCH when the tar is another */
  async file(encoder: EncoderName): Promise<VerifiedBlob> {
    const { pool, staging, asFiles: flush } = this.#context;
    const [tar, path] = [await this.#tar(), staging.path()];
    const to = { path, position: 0, flags: 'wx', flush } as const;
    const { encoded, written } = await tar.encoded({ encoder, diffId: this.#diffId, to });
    const { digest, size } = encoded;
    const staged = written && { digest, id: written };
    return VerifiedBlob.staged({ kind: 'file', path, offset: 0, size, whole: true, staged }, pool);
  }

  #tar(): Promise<VerifiedBlob> {
    this.#path ??= this.#context.staging.path();
    return (this.#inFile ??= this.blob.tarInFile(this.#path, this.#diffId));
  }

  /** Removes what was unpacked. */
  remove(): void {
    if (this.#path !== undefined) removeFile(this.#path);
  }
}
