import type { SourceImage } from '../formats/format.js';
import type { ManifestNode } from '../model/tree.js';
import type { Platform } from '../model/platform.js';
import type { Pool } from '../threads/pool.js';
import { withoutAttestations } from './extras.js';
import { withoutMissing, type MissingMode } from './missing.js';
import { choosePlatforms } from './platforms.js';
import { findClosure, type Closure } from './closure.js';
import { readSharedTree } from './tree.js';

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

/** Closures of so many blobs are held, so that the images of most runs are found only once. */
const MOST_HELD = 2000;

/** Images with all their blobs, found once for all names that share a tree. */
export class WholeImages {
  readonly #options: PartOptions;
  readonly #pool: Pool;
  readonly #known = new WeakMap<ManifestNode, Promise<Whole>>();

  readonly #held = new WeakSet<Closure>();
  #heldBlobs = 0;

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

  /** True while few are held, and for one that is held already. */
  mayHold(closure: Closure): boolean {
    if (this.#held.has(closure)) return true;
    if ((this.#heldBlobs += closure.blobs.size) > MOST_HELD) return false;
    this.#held.add(closure);
    return true;
  }

  /** Of an image that was found before, and was not held. */
  async again(image: SourceImage): Promise<Closure> {
    return (await this.of(image, await readSharedTree(image, this.#pool))).closure;
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
