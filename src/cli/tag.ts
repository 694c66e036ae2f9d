import { prefixOf } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { parseReference, splitReference } from '../model/reference.js';
import { convertCommand } from './convert.js';
import type { ConversionArguments } from './options.js';
import { namesOne } from './places.js';
import { sourceOf } from './sources.js';

export interface TagArguments extends Omit<ConversionArguments, 'REF'> {
  readonly SRC: string;
  readonly REF_OR_NAME: readonly string[];
}

/** Another name for an image in the place that it is in: `tag STORE REF NAME`, `tag docker://HOST/app:1 NAME`. */
export async function tagCommand(args: TagArguments): Promise<number> {
  const { SRC, REF_OR_NAME: words } = args;
  const refs = words.slice(0, -1);
  const name = words.at(-1) ?? '';
  const { place, selectors } = sourceOf({ ...args, REF: refs }, refs.length === 0);
  const { format, path } = place;
  if (format.traits.isEngine === true)
    throw new ImgconvError('USAGE', `tag ${SRC}: imgconv changes no names in an engine`, {
      hint: 'docker tag, ctr images tag and podman tag do',
    });
  if (format.traits.sequential)
    throw new ImgconvError('USAGE', `${path}: ${prefixOf(format)} is one file, which is written whole`, {
      hint: 'imgconv tar2tar writes another one; -t names an image',
    });
  if (selectors.length !== 1 || (refs.length === 0 && !namesOne(place)))
    throw new ImgconvError('USAGE', `tag ${SRC}: which image?`, {
      hint: 'imgconv tag ./store app:1 app:stable, or imgconv tag docker://HOST/app:1 stable',
    });
  const from = { ...place, reference: undefined };
  // A tag alone is of the same repository.
  const [selector] = selectors;
  const old = splitReference(selector?.text ?? '').name;
  const tag = /[:/]/.test(name) ? name : `${old}:${name}`;
  parseReference(tag);
  return convertCommand(from, targetOf(from), args, { options: { selectors, tag, extras: false } });
}

/** A registry's names are below its host. */
function targetOf<T extends ReturnType<typeof sourceOf>['place']>(place: T): T {
  if (place.format.registry === undefined) return place;
  return { ...place, path: place.path.split('/')[0] ?? '' };
}
