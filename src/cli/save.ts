import { existsSync } from 'node:fs';
import { docker } from '../formats/docker/index.js';
import { registry } from '../formats/registry/index.js';
import { FORMATS, isPrefixed, prefixOf, type Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { isHostName } from '../model/reference.js';
import { EVERYWHERE } from '../requests/save-images.js';
import { wholeSelectors } from '../requests/wanted.js';
import { convertCommand } from './convert.js';
import type { ConversionArguments } from './options.js';
import { askedFor } from './selectors.js';
import { isArchiveName, isRegistryText, newStore, sourcePlace, targetPlace } from './places.js';
import { shellText } from './shell.js';

export interface SaveArguments extends ConversionArguments {
  readonly REF_OR_STORE: readonly string[];
  readonly output?: string;
}

export interface PushArguments extends ConversionArguments {
  readonly SRC: string;
  readonly REGISTRY: string;
}

/** Remote images and charts into a store: of the operands the last is where to, the others are references. */
export async function saveCommand(args: SaveArguments): Promise<number> {
  const operands = args.output === undefined ? args.REF_OR_STORE : [...args.REF_OR_STORE, args.output];
  const store = operands.at(-1) ?? '';
  expectStoreLast(operands);
  const selectors = askedFor({ ...args, REF: operands.slice(0, -1) });
  if (selectors.length === 0)
    throw new ImgconvError('USAGE', `save ${store}: which images?`, {
      hint: 'imgconv save REF… STORE, or a list of references with --images-file',
    });
  return convertCommand(EVERYWHERE, storeOf(store), args, {
    options: { selectors: wholeSelectors(selectors, args.registry) },
  });
}

/** Who thinks of `cp` and `skopeo` the wrong way round has named the store first. @throws ImgconvError USAGE */
function expectStoreLast(operands: readonly string[]): void {
  const last = operands.at(-1) ?? '';
  const engine = operands.slice(0, -1).find(isEnginePlace);
  if (engine !== undefined)
    throw new ImgconvError('USAGE', `save ${engine}: save takes images from registries`, {
      hint: `did you mean imgconv copy ${shellText([engine, storeText(last)])}?`,
    });
  const store = operands.slice(0, -1).find(isStore);
  if (store === undefined || isStore(last)) return;
  throw new ImgconvError('USAGE', `save … ${last}: the store comes last, and ${store} is one`, {
    hint: `did you mean imgconv save ${shellText([...operands.filter((one) => one !== store), store])}?`,
  });
}

/** By its look, as no reference has it, or because it is there. */
function isStore(text: string): boolean {
  if (/^\.{0,2}\//.test(text) || isLocalPlace(text) || isArchiveName(text)) return true;
  return existsSync(text) && registry.recognises(text);
}

function isEnginePlace(text: string): boolean {
  return FORMATS.some(({ prefix, traits }) => traits.isEngine === true && text.startsWith(`${prefix}:`));
}

/** As `copy` writes it. */
function storeText(text: string): string {
  const { format, path } = storeOf(text);
  return isPrefixed(text) ? text : `${prefixOf(format)}${path}`;
}

function isLocalPlace(text: string): boolean {
  return FORMATS.some(({ prefix, traits }) => !traits.remote && text.startsWith(`${prefix}:`));
}

/** A new path is the storage of a registry, unless its prefix or its ending says something else. */
function storeOf(text: string): Place {
  return targetPlace(text, newStore);
}

/** Images of any place into a registry. */
export async function pushCommand(args: PushArguments): Promise<number> {
  const { SRC: source, REGISTRY: target } = args;
  const start = prefixOf(docker);
  if (!target.startsWith(start) && !isRegistryText(target)) {
    const words = source.startsWith(start) ? [target, source] : [source, `${start}${target}`];
    const isHost = isHostName(target.split('/')[0] ?? '') && !isPrefixed(target) && !existsSync(target);
    throw new ImgconvError('USAGE', `push … ${target}: not a registry`, {
      hint:
        isHost || source.startsWith(start)
          ? `did you mean imgconv push ${shellText(words)}?`
          : 'write docker://HOST or docker://HOST/PREFIX; imgconv copy is for other places',
    });
  }
  return convertCommand(sourcePlace(source), registryBelow(target), args);
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
