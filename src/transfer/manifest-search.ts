import { digestOf } from '../bytes/hash.js';
import type { EncoderName } from '../codecs/encoders.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import type { Pool } from '../threads/pool.js';
import { combinations } from './combinations.js';
import { MANIFEST_FORMS, type ManifestForm, type Named } from './manifest-forms.js';

/** What layers become: the tars themselves, or what a program makes of them. */
export type Way = 'plain' | EncoderName;

/** What gives the expected digest. */
export interface Match {
  readonly form: ManifestForm;
  readonly ways: readonly Way[];
  readonly layers: readonly Named[];
  readonly bytes: Buffer;
  readonly digest: Digest;
}

/** The layers of an image as one way makes them, in the manifest's order. */
interface Made {
  readonly way: Way;
  readonly layers: readonly Named[];
}

/**
 * So many bytes of manifests are tried for one image, and no more: half a minute on one core, and all combinations of an
 * image of 20 layers. Time goes with bytes, not with the number of manifests.
 */
const MOST = 8e9;
/** After so many bytes, timers and signals have their turn. */
const BREATH = 4e6;

/** Looks for the manifest with an expected digest among all that known programs can have written of an image. */
export class ManifestSearch {
  readonly #config: Named;
  readonly #expected: readonly Digest[];
  readonly #pool: Pool;
  readonly #most: number;
  readonly #made: Made[] = [];
  #bytes = 0;
  #breath = 0;
  /** Combinations of ways that were tried. */
  tried = 0;
  /** True when not all combinations were tried. */
  gaveUp = false;

  constructor(config: Named, expected: readonly Digest[], pool: Pool, most = MOST) {
    this.#config = { digest: config.digest, size: config.size };
    this.#expected = expected;
    this.#pool = pool;
    this.#most = most;
  }

  get ways(): number {
    return this.#made.length;
  }

  /** Tries one more way: for all layers, then for those below some layer or from there on. They are few. */
  async add(way: Way, layers: readonly Named[]): Promise<Match | undefined> {
    this.#made.push({ way, layers });
    return (await this.#try(this.#made, 1)) ?? (await this.#try(this.#made, 2));
  }

  /** Tries three ways, one above the other: to be called when all ways are added. */
  async tryThree(): Promise<Match | undefined> {
    for (let some = 2; some <= this.#made.length; some++) {
      const match = await this.#try(this.#made.slice(0, some), 3);
      if (match !== undefined) return match;
    }
    return undefined;
  }

  async #try(made: readonly Made[], runs: number): Promise<Match | undefined> {
    const count = made[0]?.layers.length ?? 0;
    for (const chosen of combinations(count, made, runs)) {
      if ((this.gaveUp ||= this.#bytes >= this.#most)) return undefined;
      this.tried++;
      const match = this.#match(chosen);
      if (match !== undefined) return match;
      if (this.#bytes < this.#breath) continue;
      this.#breath = this.#bytes + BREATH;
      await this.#pool.breathe();
    }
    return undefined;
  }

  #match(chosen: readonly Made[]): Match | undefined {
    const layers = chosen.flatMap((made, i) => made.layers[i] ?? []);
    for (const form of MANIFEST_FORMS) {
      const bytes = form.bytes(this.#config, layers);
      this.#bytes += bytes.length;
      for (const algorithm of new Set(this.#expected.map(algorithmOf))) {
        const digest = digestOf(bytes, algorithm);
        if (!this.#expected.includes(digest)) continue;
        return { form, ways: chosen.map(({ way }) => way), layers, bytes, digest };
      }
    }
    return undefined;
  }
}
