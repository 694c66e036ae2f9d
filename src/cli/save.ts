import { docker } from '../formats/docker/index.js';
import { registry } from '../formats/registry/index.js';
import { findPlace, FORMATS, parsePlace, type Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { wholeSelectors } from '../references/wanted.js';
import { convertCommand, selectorsOf } from './convert.js';
import type { ConversionArguments } from './options.js';

/** References of all registries. */
export const EVERYWHERE: Place = { format: docker, path: '' };

/** Remote images and charts into a store: of the operands the last is where to, the others are references. */
export async function saveCommand(operands: readonly string[], args: ConversionArguments): Promise<number> {
  const store = operands.at(-1) ?? '';
  const selectors = selectorsOf({ ...args, REF: operands.slice(0, -1) });
  if (selectors.length === 0)
    throw new ImgconvError('USAGE', `save ${store}: which images?`, {
      hint: 'imgconv save REF… STORE, or a list of references with --images-file',
    });
  return convertCommand(EVERYWHERE, storeOf(store), args, {
    options: { selectors: wholeSelectors(selectors) },
  });
}

/** A path is the storage of a registry, unless a prefix says something else. */
function storeOf(text: string): Place {
  return FORMATS.some(({ prefix }) => text.startsWith(`${prefix}:`))
    ? parsePlace(text)
    : { format: registry, path: text };
}

/** Images of any place into a registry. */
export async function pushCommand(
  source: string,
  target: string,
  args: ConversionArguments,
): Promise<number> {
  if (!target.startsWith(`${docker.prefix}://`))
    throw new ImgconvError('USAGE', `push … ${target}: not a registry`, {
      hint: `write docker://HOST or docker://HOST/PREFIX; imgconv copy is for other places`,
    });
  return convertCommand(findPlace(source), registryBelow(target), args);
}

/** `HOST[/PREFIX]` as what the names of images are put below. @throws ImgconvError USAGE */
export function registryBelow(text: string): Place {
  const path = text.replace(/^docker:\/\//, '').replace(/\/+$/, '');
  const [host = '', ...prefix] = path.split('/');
  if (host === '' || prefix.some((part) => part === '' || /[:@]/.test(part)))
    throw new ImgconvError('USAGE', `${text}: not a registry and a beginning of repositories`, {
      hint: 'write HOST or HOST/PREFIX, without a tag; imgconv copy names a single image',
    });
  return { format: docker, path: prefix.length === 0 ? host : `${path}/` };
}
