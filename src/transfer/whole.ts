import type { SourceImage } from '../formats/format.js';
import type { ManifestNode } from '../model/tree.js';
import type { Platform } from '../model/platform.js';
import type { Pool } from '../threads/pool.js';
import { withoutAttestations } from './extras.js';
import { withoutMissing, type MissingMode } from './missing.js';
import { choosePlatforms } from './platforms.js';
import { findClosure, type Closure } from './closure.js';

/** Which parts of an image are taken. */
export interface PartOptions {
  readonly platforms: readonly Platform[];
  /** Of indexes images alone; of what stands alone any platform. */
  readonly systemImages: boolean;
  readonly missing: MissingMode;
  /** Carries signatures, attestations and other referrers with their images. */
  readonly extras: boolean | 'listed';
  readonly onBytes: ((count: number) => void) | undefined;
}

interface Whole {
  readonly closure: Closure;
  readonly notes: readonly string[];
}

/** Images with all their blobs, found once for all names that share a tree. */
export class WholeImages {
  readonly #options: PartOptions;
  readonly #pool: Pool;
  readonly #known = new WeakMap<ManifestNode, Promise<Whole>>();

  constructor(options: PartOptions, pool: Pool) {
    this.#options = options;
    this.#pool = pool;
  }

  /** @throws ImgconvError PLATFORM_MISSING, BLOB_MISSING */
  of(image: SourceImage, tree: ManifestNode): Promise<Whole> {
    const whole = this.#known.get(tree) ?? this.#find(image, tree);
    this.#known.set(tree, whole);
    return whole;
  }

  async #find(image: SourceImage, tree: ManifestNode): Promise<Whole> {
    const { platforms, systemImages, missing, extras, onBytes } = this.#options;
    const system = systemImages && platforms.length > 0;
    const bare = extras !== false && !system ? tree : withoutAttestations(tree);
    const taken = system && bare.manifest.kind !== 'index' ? [] : platforms;
    const chosen = await choosePlatforms(image, bare, taken, this.#pool);
    const { root, notes } = await withoutMissing(image, chosen.root, missing);
    const closure = await findClosure(image, root, this.#pool, {
      allowAbsent: missing === 'sparse',
      onBytes,
    });
    const isCut = bare !== tree && root.manifest.kind === 'index';
    const dropped = isCut ? ['its attestations are left out, so the index is a new one'] : [];
    return { closure, notes: [...dropped, ...chosen.notes, ...notes] };
  }
}
