import { isDigest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { choiceOf } from '../../model/reference.js';
import { NOTHING_OF_ITS_OWN } from '../audit.js';
import type {
  Attached,
  Format,
  ImageReader,
  ListOptions,
  ReadContext,
  SourceImage,
  UnreadableImage,
} from '../format.js';
import { wantedMatcher } from '../wanted.js';
import { describeEndpoint, engineEndpoint } from './endpoint.js';
import { Engine, type EngineImage } from './engine.js';

/** @throws ImgconvError NETWORK, USAGE */
export async function openEngine(context: ReadContext, archive: Format): Promise<ImageReader> {
  const endpoint = engineEndpoint();
  const engine = await Engine.connect(endpoint, context.pool.signal);
  return new EngineReader(engine, describeEndpoint(endpoint), context, archive);
}

/** Reads the images that are asked for out of one archive, which the engine makes of them as it passes. */
class EngineReader implements ImageReader {
  readonly audit = NOTHING_OF_ITS_OWN;
  readonly #engine: Engine;
  readonly #where: string;
  readonly #context: ReadContext;
  readonly #archive: Format;
  #reader: ImageReader | undefined;

  constructor(engine: Engine, where: string, context: ReadContext, archive: Format) {
    this.#engine = engine;
    this.#where = where;
    this.#context = context;
    this.#archive = archive;
  }

  async *images(options: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    const asked = askedFor(await this.#engine.images(), options);
    if (options.summary === true) {
      for (const image of asked) yield* await this.#summaries(image);
      return;
    }
    if (asked.length === 0) return;
    const names = asked.flatMap(({ id, repoTags }) => (repoTags.length > 0 ? repoTags : [id]));
    const known = new Map(asked.flatMap((one) => one.repoTags.map((tag) => [tag, one])));
    for await (const image of (await this.#open(names)).images(options)) {
      const own = known.get(image.name ?? '');
      // An entry of the archive says nothing of the engine.
      const shown = { ...image, entries: undefined };
      yield own === undefined ? shown : { ...shown, knownAs: own.repoDigests };
    }
  }

  async #open(names: readonly string[]): Promise<ImageReader> {
    await this.#reader?.close();
    const passing = { stream: await this.#engine.save(names), where: this.#where };
    const { open } = this.#archive;
    if (open === undefined) throw new TypeError(`${this.#archive.prefix} cannot be read`);
    return (this.#reader = await open(this.#where, { ...this.#context, passing }));
  }

  async #summaries({ id, repoTags, repoDigests }: EngineImage): Promise<SourceImage[]> {
    const digest = id.startsWith('sha256:') ? id : `sha256:${id}`;
    const details = await this.#engine.inspect(id);
    // It was deleted meanwhile.
    if (details === undefined || !isDigest(digest)) return [];
    const { os, architecture, variant } = details;
    const platform = [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
    const image: SourceImage = {
      name: undefined,
      where: `${this.#where}: ${repoTags[0] ?? id}`,
      digest,
      imageId: digest,
      knownAs: repoDigests,
      summary: { platforms: [platform], size: details.size },
      untagged: repoTags.length === 0,
      locate: () => undefined,
      provesDiffIds: true,
      signatures: [],
      warnings: [],
    };
    return repoTags.length === 0 ? [image] : repoTags.map((name) => ({ ...image, name }));
  }

  attached(...asked: Parameters<ImageReader['attached']>): Promise<Attached> {
    return this.#reader?.attached(...asked) ?? Promise.resolve({ images: [], notes: [] });
  }

  async close(): Promise<void> {
    await this.#reader?.close();
    this.#engine.close();
  }
}

/** The images that may be meant; without any choice those that have a tag, by name. */
function askedFor(all: readonly EngineImage[], { wanted, untagged, summary }: ListOptions): EngineImage[] {
  const byName = (a: EngineImage, b: EngineImage) =>
    (a.repoTags[0] ?? '~') < (b.repoTags[0] ?? '~') ? -1 : 1;
  const sorted = [...all].sort(byName);
  if (wanted === undefined)
    return sorted.filter(({ repoTags }) => untagged || summary === true || repoTags.length > 0);
  const ids = wanted.flatMap((text) => {
    const choice = choiceOf(text);
    if (choice?.kind === 'number')
      throw new ImgconvError('USAGE', `${text}: images of an engine have no numbers`, {
        hint: 'choose by name or ID',
      });
    return choice === undefined ? [] : [choice.start];
  });
  const isWanted = wantedMatcher(wanted.filter((text) => choiceOf(text) === undefined));
  return sorted.filter(
    ({ id, repoTags, repoDigests }) =>
      ids.some((start) => id.startsWith(start)) || isWanted([...repoTags, ...repoDigests]),
  );
}
