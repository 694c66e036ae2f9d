import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KINDS, makeCorpus, shortOf, STORES, type Corpus, type Kind } from './corpus.js';
import type { Disturbance, Outcome, Run } from './outcome.js';
import { differences, inodesOf, pictureOf, type Picture } from './picture.js';
import { soundnessOf } from './soundness.js';

/** One conversion: `before` is what the destination holds. */
export interface Conversion {
  readonly from: Kind;
  readonly to: Kind;
  readonly before: 'nothing' | 'older images';
}

export const CONVERSIONS: readonly Conversion[] = KINDS.flatMap((from) =>
  KINDS.flatMap((to) =>
    (['nothing', 'older images'] as const)
      .filter((before) => to !== 'pipe' || before === 'nothing')
      .map((before) => ({ from, to, before })),
  ),
);

export function titleOf({ from, to, before }: Conversion): string {
  return `${from} to ${to} with ${before} there`;
}

/** What an undisturbed run makes. */
export interface Undisturbed {
  readonly picture: Picture;
  /** Of the roots of all images that are there then. */
  readonly digests: ReadonlySet<string>;
  readonly images: number;
  /** How long it took, and how many operations changed something. */
  readonly milliseconds: number;
  readonly changes: number;
}

/** Whether files there can be links to a source's. */
export function isLinked(kind: Kind): boolean {
  return STORES.some((store) => store === kind);
}

/** A folder in which conversions are run, one at a time, and what undisturbed runs make there. */
export class Bench {
  readonly folder: string;
  readonly corpus: Corpus;
  readonly #undisturbed = new Map<string, Undisturbed>();
  /** States from which another run was seen to finish. */
  readonly #finished = new Set<string>();
  #sources: Corpus['sources'];

  private constructor(folder: string, corpus: Corpus) {
    this.folder = folder;
    this.corpus = corpus;
    this.#sources = corpus.sources;
    for (const name of ['case', 'tmp']) mkdirSync(join(folder, name));
    process.env['TMPDIR'] = join(folder, 'tmp');
  }

  /** In an empty folder; `size` is that of the large layers. */
  static async in(folder: string, size: number, few = false): Promise<Bench> {
    return new Bench(folder, await makeCorpus(join(folder, 'corpus'), size, few));
  }

  /** The destination of every conversion into this kind; of a pipe, the file that takes what comes out of it. */
  target(to: Kind): string {
    const name = {
      dir: 'place',
      reg: 'place',
      oci: 'place',
      tar: 'place.tar',
      ocitar: 'place.oci.tar',
      pipe: 'out',
    }[to];
    return join(this.folder, 'case', name);
  }

  source(from: Kind): string {
    return this.#sources[from];
  }

  /** Lays out what is there before; with `ownSource` the source is a copy, which may be spoiled. */
  prepare({ from, to, before }: Conversion, ownSource = false): void {
    rmSync(join(this.folder, 'case'), { recursive: true, force: true });
    rmSync(join(this.folder, 'tmp'), { recursive: true, force: true });
    for (const name of ['case', 'tmp']) mkdirSync(join(this.folder, name));
    if (before === 'older images') cpSync(this.corpus.older[to], this.target(to), { recursive: true });
    this.#sources = this.corpus.sources;
    if (!ownSource) return;
    const copy = join(this.folder, 'case', `source-${from}`);
    cpSync(this.corpus.sources[from], copy, { recursive: true });
    this.#sources = { ...this.#sources, [from]: copy };
  }

  async run(
    run: Run,
    { from, to }: Conversion,
    options: readonly string[] = [],
    how?: Disturbance,
  ): Promise<Outcome> {
    const paths = [from === 'pipe' ? '-' : this.source(from), to === 'pipe' ? '-' : this.target(to)];
    const outcome = await run(
      [`${shortOf(from)}2${shortOf(to)}`, ...paths, ...options],
      from === 'pipe' ? this.source(from) : undefined,
      how,
    );
    if (to === 'pipe') writeFileSync(this.target(to), outcome.stdout);
    return outcome;
  }

  picture({ from, to }: Conversion): Picture {
    const links = isLinked(from) && isLinked(to);
    return pictureOf(this.target(to), links ? inodesOf(this.source(from)) : undefined);
  }

  /** What an undisturbed run makes, which has to be sound and to hold all images. */
  async undisturbed(run: Run, conversion: Conversion): Promise<Undisturbed> {
    const title = titleOf(conversion);
    const known = this.#undisturbed.get(title);
    if (known !== undefined) return known;
    this.prepare(conversion);
    const since = performance.now();
    const counting = { plan: { action: 'kill', at: 0, root: this.folder } } as const;
    const { status, stderr, count = 0 } = await this.run(run, conversion, [], counting);
    const milliseconds = performance.now() - since;
    const { to, before } = conversion;
    const { images, problems } = soundnessOf(to, this.target(to));
    const older = before === 'nothing' || to === 'tar' || to === 'ocitar' ? [] : ['kept/image:1'];
    const lacking = [...this.corpus.names, ...older].filter((name) => !images.has(name));
    if (status !== 0 || problems.length > 0 || lacking.length > 0)
      throw new Error(`${title}: ${stderr}\n${[...problems, ...lacking].join('\n')}`);
    const made = {
      picture: this.picture(conversion),
      digests: new Set(images.values()),
      images: images.size,
      milliseconds,
      changes: count,
    };
    this.#undisturbed.set(title, made);
    return made;
  }

  /** Runs the same command again, now left alone: what is there then has to be what an undisturbed run makes. */
  async again(run: Run, conversion: Conversion, inodes: boolean): Promise<string[]> {
    const wanted = (await this.undisturbed(run, conversion)).picture;
    const key = `${titleOf(conversion)} ${JSON.stringify([...this.picture(conversion)])}`;
    if (this.#finished.has(key)) return [];
    const { status, stderr } = await this.run(run, conversion);
    if (status !== 0) return [`the next run ends with ${status}: ${stderr}`];
    const plain = (picture: Picture) =>
      inodes ? picture : new Map([...picture].map(([name, what]) => [name, what.replace(/, is .*$/, '')]));
    const problems = [
      ...differences(plain(this.picture(conversion)), plain(wanted)),
      ...this.leftBehind().map((path) => `left behind: ${path}`),
    ];
    if (problems.length === 0) this.#finished.add(key);
    return problems;
  }

  /** Paths of unfinished work beside the destination, and where conversions into a pipe keep theirs. */
  leftBehind(): string[] {
    return ['case', 'tmp'].flatMap((folder) =>
      readdirSync(join(this.folder, folder))
        .filter((name) => name.startsWith('.imgconv-') || folder === 'tmp')
        .map((name) => join(this.folder, folder, name)),
    );
  }
}
