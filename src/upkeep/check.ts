import { SET_ASIDE, unreachable, type Audit, type Fault } from '../formats/audit.js';
import type { ImageReader, SourceImage, UnreadableImage } from '../formats/format.js';
import type { Digest } from '../model/digest.js';
import { DigestSet } from '../model/digest-map.js';
import { asImgconvError } from '../model/errors.js';
import { splitReference } from '../model/reference.js';
import { filesBelow } from '../storage/driver.js';
import type { Pool } from '../threads/pool.js';
import { ImageCheck, nameOf, withoutPath, type CheckContext } from './check-image.js';
import type { Findings } from './findings.js';
import type { Proofs } from './proof.js';

/** Images under way at once, so that threads have work while manifests are read. */
const IMAGES_AT_ONCE = 8;

/** What was checked of one repository. */
interface CheckedRepository {
  /** Those that its tags reach. */
  readonly manifests: Set<Digest>;
  readonly tagged: Promise<void>[];
  /** Of all tagged images; no more come then. */
  settled: Promise<unknown> | undefined;
}

type CheckOptions = Omit<CheckContext, 'seesAll' | 'reached'>;

/** Hears of images whose check begins or ends; several are at hand at once. */
export interface CheckProgress {
  started?(name: string): void;
  ended?(name: string): void;
}

/** Checks all that a place holds, and collects what is wrong in `findings`. */
export class Check implements CheckContext {
  readonly audit: Audit;
  readonly proofs: Proofs;
  readonly findings: Findings;
  readonly pool: Pool;
  readonly deep: boolean;
  /** False when a manifest could not be read, so that it is unknown what it needs. */
  seesAll = true;
  /** What the images need. */
  readonly reached = new DigestSet();
  readonly #repositories = new Map<string, CheckedRepository>();
  readonly #progress: CheckProgress | undefined;

  constructor(context: CheckOptions, progress?: CheckProgress) {
    const { audit, proofs, findings, pool, deep } = context;
    this.audit = audit;
    this.proofs = proofs;
    this.findings = findings;
    this.pool = pool;
    this.deep = deep;
    this.#progress = progress;
  }

  /** The size of all blobs of the place, as far as it keeps them together. */
  async bytes(): Promise<number> {
    if (this.audit.bytes !== undefined) return this.audit.bytes();
    let sum = 0;
    for await (const { size } of this.audit.blobs()) sum += size;
    return sum;
  }

  /** Gives the number of images. `only`: the names of those that are checked; `named`: the only one that is listed. */
  async ofImages(reader: ImageReader, only?: ReadonlySet<string>, named?: string): Promise<number> {
    let count = 0;
    const wanted = named === undefined ? undefined : [named];
    this.audit.begin?.(this.pool);
    const images = reader.images({ untagged: true, wanted })[Symbol.asyncIterator]();
    const work = async () => {
      for (let next = await images.next(); next.done !== true; next = await images.next()) {
        const image = next.value;
        this.pool.expectRunning();
        if (only !== undefined && !only.has(nameOf(image))) continue;
        if ('placeWarning' in image && image.placeWarning !== undefined && count === 0)
          this.findings.add({
            severity: 'cosmetic',
            kind: 'notice',
            where: image.where,
            what: image.placeWarning,
          });
        const repository = this.#repositoryOf(image);
        if (image.untagged === true) {
          await (repository.settled ??= Promise.all(repository.tagged));
          // It is a member of a tagged image, or that image itself, and was checked with it.
          if ('digest' in image && repository.manifests.has(image.digest)) continue;
        }
        count++;
        const name = nameOf(image);
        this.#progress?.started?.(name);
        const checking = new ImageCheck(this, image, repository.manifests).run().finally(() => {
          this.#progress?.ended?.(name);
        });
        if (image.untagged !== true) repository.tagged.push(checking);
        await checking;
        // Small images are proved without a wait.
        await this.pool.breathe();
      }
    };
    await Promise.all(Array.from({ length: IMAGES_AT_ONCE }, work));
    return count;
  }

  /** Readers list a repository's tags before its other revisions, one repository after another. */
  #repositoryOf(image: SourceImage | UnreadableImage): CheckedRepository {
    const { name } = splitReference(nameOf(image));
    const known = this.#repositories.get(name) ?? { manifests: new Set(), tagged: [], settled: undefined };
    this.#repositories.set(name, known);
    for (const oldest of this.#repositories.keys()) {
      if (this.#repositories.size <= 2 * IMAGES_AT_ONCE) break;
      this.#repositories.delete(oldest);
    }
    return known;
  }

  /** All that belongs to no image. `whole`: all images were checked, so that what they need is known. */
  async ofPlace(path: string, begun: number, whole: boolean): Promise<void> {
    try {
      for await (const fault of this.audit.ofPlace()) if (!this.#isTold(fault)) this.findings.add(fault);
      if (whole && this.seesAll) await this.#unreachable(begun);
    } catch (error) {
      const known = asImgconvError(error, path);
      if (known.code === 'INTERRUPTED') throw known;
      const what = withoutPath(known, path);
      this.findings.add({ severity: 'broken', kind: 'image-unreadable', where: path, what });
    }
    const storage = this.audit.mending?.storage;
    if (storage === undefined) return;
    for (const key of await storage.leftovers()) {
      let bytes = 0;
      for await (const { size } of filesBelow(storage, key)) bytes += size;
      const [where, what] = [storage.nameOf(key), 'left by an interrupted run'];
      this.findings.add({ severity: 'space', kind: 'unfinished', where, what, bytes });
    }
    for await (const { path: where, size: bytes } of filesBelow(storage, SET_ASIDE)) {
      const what = 'a damaged file, put here by a repair';
      this.findings.add({ severity: 'space', kind: 'set-aside', where, what, bytes });
    }
  }

  /** What an image lacks was reported with the image. */
  #isTold({ kind, digest }: Fault): boolean {
    return kind === 'link-dangling' && digest !== undefined && this.reached.has(digest);
  }

  async #unreachable(begun: number): Promise<void> {
    for await (const { digest, path, size, changed } of this.audit.blobs(this.reached)) {
      // What was written since may be of an image that was tagged since.
      if (!this.reached.has(digest) && changed <= begun) this.findings.add(unreachable(path, size));
    }
  }
}
