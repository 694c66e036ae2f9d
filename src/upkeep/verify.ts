import { tmpdir } from 'node:os';
import type { RegistryAccess } from '../formats/access.js';
import type { ImageReader } from '../formats/format.js';
import { openPlace } from '../formats/open.js';
import { isStream, type Place } from '../formats/table.js';
import { Pool } from '../threads/pool.js';
import { StagedDownloads } from '../storage/downloads.js';
import { PeekSpool, StagingSpool } from '../storage/spool.js';
import { Staging } from '../storage/staging.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { Findings, type Finding } from './findings.js';
import { Check, type CheckProgress } from './check.js';
import { Proofs } from './proof.js';
import { notInPlace, repair, type Repaired } from './repair.js';
import { heardBy, type Progress } from '../transfer/options.js';
import type { Count } from '../transfer/report.js';

export interface VerifyOptions {
  /** Also unpacks layers. */
  readonly deep?: boolean | undefined;
  /** Where missing and damaged blobs are fetched from; undefined: nothing is written. */
  readonly repair?: readonly Place[] | undefined;
  /** How registries are spoken to: the place itself, and those that repairs come from. */
  readonly access?: RegistryAccess | undefined;
  readonly jobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: VerifyProgress | undefined;
}

/** Hears of a check as it goes. */
export interface VerifyProgress extends CheckProgress, Pick<Progress, 'bytes' | 'retry' | 'waiting'> {
  /** About so many bytes are to be read, if the place can tell; called once the check has taken a second. */
  total?(bytes: number): void;
}

export interface VerifyReport {
  /** That were checked, with revisions that no tag reaches. */
  readonly images: number;
  readonly brokenImages: number;
  /** What was read; blobs that several images name count once. */
  readonly blobs: Count;
  /** What is wrong, after repairs. Sorted: what is broken first. */
  readonly findings: readonly Finding[];
  readonly repaired: readonly Repaired[];
  /** False when a manifest could not be read: blobs that no image needs are unknown then. */
  readonly seesAll: boolean;
}

/** After this long it is said how much there is to read. */
const TOTAL_AFTER_MS = 1000;
/** A repaired index shows its members, and a repaired member its layers: each round repairs what the one before showed. */
const MAX_ROUNDS = 12;

/**
 * Checks a place at rest. Nothing is written, unless repairs are asked for.
 * @throws ImgconvError when there is no such place, USAGE when it cannot be repaired, INTERRUPTED
 */
export async function verify(place: Place, options: VerifyOptions = {}): Promise<VerifyReport> {
  await using pool = new Pool(options.jobs);
  const abort = () => {
    pool.abort(new ImgconvError('INTERRUPTED', 'interrupted: nothing more was checked'));
  };
  options.signal?.addEventListener('abort', abort);
  using staging = new Staging(tmpdir());
  try {
    return await new Verification(place, options, pool, staging).run();
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}

class Verification {
  readonly #place: Place;
  readonly #options: VerifyOptions;
  readonly #pool: Pool;
  readonly #staging: Staging;
  readonly #proofs: Proofs;
  /** A stream can be opened only once. */
  #stream: ImageReader | undefined;

  constructor(place: Place, options: VerifyOptions, pool: Pool, staging: Staging) {
    this.#place = place;
    this.#options = options;
    this.#pool = pool;
    this.#staging = staging;
    const { progress } = options;
    this.#proofs = new Proofs(pool, progress?.bytes && ((count) => progress.bytes?.(count)));
  }

  async run(): Promise<VerifyReport> {
    const repaired: Repaired[] = [];
    let round = await this.#round();
    for (let rounds = 1; this.#options.repair !== undefined && rounds < MAX_ROUNDS; rounds++) {
      if (round.mending === undefined) break;
      const mended = await repair(round.mending, round.findings, this.#options.repair, this.#pool, {
        ...this.#options.access,
        ...heardBy(this.#options.progress),
      });
      if (mended.length === 0) break;
      for (const one of mended) repaired.push(one);
      round = await this.#round();
    }
    const findings = round.findings.sorted();
    const broken = new Set(
      findings.filter(({ severity }) => severity === 'broken').flatMap(({ images }) => images),
    );
    return {
      images: round.images,
      brokenImages: broken.size,
      blobs: this.#proofs.count,
      findings,
      seesAll: round.seesAll,
      repaired,
    };
  }

  /** Checks all, and what is broken twice: it may have been written at the time. */
  async #round() {
    const first = await this.#check(undefined);
    if (!first.findings.isBroken) return first;
    const again = await this.#check(first.findings.suspects());
    return { ...first, findings: first.findings.confirmedBy(again.findings) };
  }

  async #check(only: ReadonlySet<string> | undefined) {
    const begun = Date.now();
    const findings = new Findings();
    const { path, format, reference } = this.#place;
    // A registry is not read whole where one image of it is named.
    const named = format.registry === undefined ? undefined : reference;
    let reader: ImageReader;
    try {
      reader = await this.#open();
    } catch (error) {
      const known = asImgconvError(error, path);
      if (['USAGE', 'NOT_FOUND', 'FORMAT_UNKNOWN', 'INTERRUPTED'].includes(known.code)) throw known;
      findings.add({ severity: 'broken', kind: 'image-unreadable', where: path, what: known.message });
      return { images: 0, findings, mending: undefined, seesAll: false };
    }
    try {
      const { deep = false, progress } = this.#options;
      const context = { audit: reader.audit, proofs: this.#proofs, findings, pool: this.#pool, deep };
      const check = new Check(context, progress);
      using _ = this.#totalLater(check, only === undefined);
      const images = await check.ofImages(reader, only, named);
      if (images === 0 && named !== undefined && only === undefined)
        throw new ImgconvError('NOT_FOUND', `${named}: no such image in the registry`);
      await check.ofPlace(path, begun, only === undefined);
      return { images, findings, mending: reader.audit.mending, seesAll: check.seesAll };
    } finally {
      if (this.#stream === undefined) await reader.close();
    }
  }

  /** Only long checks are worth a look at all blobs. */
  #totalLater(check: Check, whole: boolean): Disposable {
    const { progress, deep = false } = this.#options;
    const look = async () => {
      const bytes = await check.bytes().catch(() => 0);
      // Layers are read once more to be unpacked.
      if (bytes > 0) progress?.total?.(deep ? bytes * 2 : bytes);
    };
    const timer = whole && progress?.total ? setTimeout(() => void look(), TOTAL_AFTER_MS) : undefined;
    return {
      [Symbol.dispose]: () => {
        clearTimeout(timer);
      },
    };
  }

  async #open(): Promise<ImageReader> {
    if (this.#stream !== undefined) return this.#stream;
    const spool = this.#options.deep === true ? new StagingSpool(this.#staging, this.#pool) : new PeekSpool();
    const reader = await openPlace(this.#place, {
      pool: this.#pool,
      spool,
      downloads: new StagedDownloads(this.#staging, this.#pool, false),
      access: heardBy(this.#options.progress, this.#options.access),
    });
    if (this.#options.repair !== undefined && reader.audit.mending === undefined)
      throw notInPlace(this.#place);
    if (isStream(this.#place)) this.#stream = reader;
    return reader;
  }
}
