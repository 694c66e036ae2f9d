import { basename, resolve } from 'node:path';
import { STREAM, type Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { isRepository, parseReference } from '../model/reference.js';
import { wholeSelectors } from '../requests/wanted.js';
import { convertCommand } from './convert.js';
import type { ConversionArguments } from './options.js';
import { copySource, copyTarget, namesOne, withoutTag } from './places.js';
import { askedFor } from './selectors.js';

export interface CopyArguments extends ConversionArguments {
  readonly SRC: string;
  readonly DST: string;
  readonly allTags?: boolean;
  readonly tree?: boolean;
  readonly additionalTag?: readonly string[];
}

/** Places mean what they mean to skopeo: one image that SRC names becomes what DST names. */
export async function copyCommand(args: CopyArguments): Promise<number> {
  const { SRC, DST, REF = [], imagesFile = [], allTags = false, tree = false } = args;
  const from = copySource(SRC, allTags);
  const one = namesOne(from) && REF.length === 0 && imagesFile.length === 0;
  // A place that may hold a single image gets its name from `DST`; whether it does is known when it is read.
  const to = copyTarget(
    DST,
    one || (from.format.registry === undefined && REF.length + imagesFile.length <= 1),
  );
  const single = one && !tree && to.format.prefix === 'dir';
  const more = additional(args, one, to.reference);
  const selectors = askedFor(args, from.reference);
  // References of all registries are made whole, as `save` does.
  const whole =
    from.format.registry !== undefined && from.path === ''
      ? wholeSelectors(selectors, args.registry)
      : selectors;
  return convertCommand(from, to, args, {
    options: {
      ...(single && { single, ...nameFor(from, args) }),
      ...(more.length > 0 && {
        tag: undefined,
      }),
      selectors:
        more.length === 0
          ? whole
          : whole.flatMap((selector) => more.map((rename) => ({ ...selector, rename }))),
    },
  });
}

/** A directory that is not called NAME:TAG says no name; that of a single directory does not matter. */
function nameFor({ format, path }: Place, { tag }: CopyArguments): { tag?: string } {
  const name = basename(resolve(path));
  if (tag !== undefined || format.prefix !== 'dir' || /[:@]/.test(name)) return {};
  return { tag: isRepository(name) ? `${name}:latest` : 'image:latest' };
}

/** The names that an image is to get with `--additional-tag`: that of the target, and the others. */
function additional(
  { additionalTag = [], DST }: CopyArguments,
  one: boolean,
  reference: string | undefined,
): readonly string[] {
  if (additionalTag.length === 0) return [];
  if (!one || reference === undefined || DST === STREAM)
    throw new ImgconvError('USAGE', '--additional-tag: for one image, whose first name follows the target', {
      hint: 'imgconv copy reg:store:app:1 docker-archive:app.tar:app:1 --additional-tag app:latest',
    });
  // A tag alone is of the same repository.
  const whole = (tag: string) => (/[:/]/.test(tag) ? tag : `${withoutTag(reference)}:${tag}`);
  const names = [reference, ...additionalTag.map(whole)];
  for (const name of names) parseReference(name);
  return names;
}
