import type { RegistryAccess } from '../formats/access.js';
import type { Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import type { Selector } from '../transfer/select.js';
import { copySource, repositoryOf, sourcePlace } from './places.js';
import { accessOf, strayRegistryOption, type RegistryArguments } from './registry-options.js';
import { selectorsOf } from './selectors.js';

export interface SourceArguments extends RegistryArguments {
  readonly SRC: string;
  readonly REF?: readonly string[];
}

/** A place to look at, how registries are spoken to, and what of it was asked for. */
export interface Source {
  readonly place: Place;
  readonly access: RegistryAccess;
  readonly selectors: readonly Selector[];
}

/** `latest`: a repository of a registry alone is its tag `latest`. @throws ImgconvError USAGE, NOT_FOUND, FORMAT_UNKNOWN */
export function sourceOf(args: SourceArguments, latest = false): Source {
  const { SRC, REF = [] } = args;
  const place = latest && REF.length === 0 ? copySource(SRC, false) : sourcePlace(SRC);
  const stray = strayRegistryOption(args, { src: place.format });
  if (stray !== undefined) throw new ImgconvError('USAGE', stray[0], { hint: stray[1] });
  const selectors = selectorsOf([...REF, place.reference]);
  return { place, access: accessOf(args, 'src', place, selectors), selectors };
}

/** A repository: that of the registry place itself, or `name` in any other place. @throws ImgconvError USAGE */
export function repositoryArgument(place: Place, name: string | undefined): string {
  const own = repositoryOf(place);
  const repository = own ?? name;
  if (repository === undefined || (own !== undefined && name !== undefined))
    throw new ImgconvError('USAGE', `${place.path}: which repository?`, {
      hint: 'imgconv list-tags docker://HOST/REPOSITORY, or imgconv list-tags STORE REPOSITORY',
    });
  return repository;
}
