import type { Removal } from '../formats/removal.js';
import { prefixOf, type Place } from '../formats/table.js';
import { manifestsOf } from '../model/tree.js';
import { readSharedTree } from '../transfer/tree.js';
import { ImgconvError } from '../model/errors.js';
import type { Digest } from '../model/digest.js';
import { isGlob, splitReference } from '../model/reference.js';
import type { Selector } from '../transfer/select.js';
import { chosenImages } from '../upkeep/chosen.js';
import { printable } from './exit.js';
import { Interrupt } from './interrupt.js';
import { namesOne } from './places.js';
import { shellText } from './shell.js';
import { sourceOf, type SourceArguments } from './sources.js';

export interface RemoveArguments extends SourceArguments {
  readonly dryRun?: boolean;
}

/** What is to be removed: a name, or a manifest with all its names. */
interface Target {
  readonly shown: string;
  /** Of a name, what it names. */
  readonly digest?: Digest;
  /** Of a manifest, the names that go with it. */
  names?: readonly string[];
  remove(from: Removal): Promise<boolean>;
}

/** Tags and images out of a place; all that is named has to be there before anything is removed. */
export async function rmCommand(args: RemoveArguments): Promise<number> {
  const { SRC, dryRun = false } = args;
  const { place, access, selectors } = sourceOf(args);
  const { format, path, storage } = place;
  if (place.reference === undefined && namesOne(place))
    throw new ImgconvError('USAGE', `rm ${SRC}: this directory is one image`, {
      hint: `remove the directory: ${shellText(['rm', '-r', path])}`,
    });
  expectExact(SRC, selectors);
  if (format.remove === undefined)
    throw new ImgconvError(
      'USAGE',
      `${prefixOf(format)}${path}: nothing is removed from ${format.traits.isEngine === true ? 'stores of engines' : 'an archive, which is one file'}`,
      {
        hint:
          format.traits.isEngine === true
            ? 'remove it with the engine: docker image rm, ctr images rm, podman image rm'
            : 'write a new archive of the other images: imgconv tar2tar, or imgconv ocitar2ocitar',
      },
    );
  const targets: Target[] = [];
  for (const selector of selectors) {
    const chosen: Target[] = [];
    for await (const { image } of chosenImages(place, [selector], access))
      chosen.push(targetOf(selector, image.name ?? '', image.digest));
    expectOne(selector, chosen);
    targets.push(...chosen);
  }
  const removed = targets.filter(({ names }) => names !== undefined);
  if (removed.length > 0 && !format.traits.remote) await addNames(place, removed);
  using interrupt = new Interrupt();
  const removal = await format.remove(path, { access, signal: interrupt.signal }, storage);
  try {
    for (const target of new Map(targets.map((one) => [one.shown, one])).values()) {
      if (!dryRun && !(await target.remove(removal)))
        throw new ImgconvError('NOT_FOUND', `${target.shown}: is not there any more`);
      const names = target.names ?? [];
      const also = names.length === 0 ? '' : ` and its names ${names.map(printable).join(', ')}`;
      const words = [dryRun ? 'would remove' : 'removed', printable(target.shown), target.digest ?? ''];
      process.stdout.write(`${words.filter(Boolean).join(' ')}${also}\n`);
    }
  } finally {
    await removal.close();
  }
  if (!dryRun && format.blobStore !== undefined)
    process.stdout.write(`blobs that no image needs now stay until: ${shellText(['imgconv', 'gc', SRC])}\n`);
  return 0;
}

/** @throws ImgconvError USAGE: what is removed is said exactly */
function expectExact(SRC: string, selectors: readonly Selector[]): void {
  const [first] = selectors;
  if (first === undefined)
    throw new ImgconvError('USAGE', `rm ${SRC}: which images?`, {
      hint: `imgconv rm ${SRC} NAME:TAG or NAME@DIGEST`,
    });
  const glob = selectors.find(({ text }) => isGlob(text));
  if (glob !== undefined)
    throw new ImgconvError('USAGE', `rm ${glob.text}: a glob could remove more than is meant`, {
      hint: `imgconv ls ${SRC} '${glob.text}' -q lists the names to give`,
    });
}

/** @throws ImgconvError USAGE for a name without a host that images of several hosts have */
function expectOne({ text }: Selector, chosen: readonly Target[]): void {
  const names = chosen.flatMap(({ shown, names }) => (names === undefined ? [shown] : []));
  if (names.length < 2) return;
  throw new ImgconvError('USAGE', `${text}: may be ${names.join(' or ')}`, {
    hint: 'give the name with its host',
  });
}

/**
 * The names of manifests that are removed.
 * @throws ImgconvError USAGE for one that is part of another image, which would be broken
 */
async function addNames(place: Place, targets: readonly Target[]): Promise<void> {
  const byShown = new Map(targets.map((target) => [target.shown, target]));
  for await (const { image, pool } of chosenImages(place, [])) {
    const { name: repository } = splitReference(image.name ?? '');
    const own = byShown.get(`${repository}@${image.digest}`);
    if (own !== undefined) own.names = [...(own.names ?? []), image.name ?? ''];
    for (const { descriptor } of manifestsOf(await readSharedTree(image, pool))) {
      const part = byShown.get(`${repository}@${descriptor.digest}`);
      if (part === undefined || byShown.has(`${repository}@${image.digest}`)) continue;
      throw new ImgconvError('USAGE', `${part.shown}: ${image.name ?? image.digest} needs it`, {
        hint: 'remove that image first, or with it',
      });
    }
  }
}

/** A tag that is asked for by its name goes alone; by a digest the manifest goes, with its tags. */
function targetOf({ text }: Selector, name: string, digest: Digest): Target {
  const { name: repository, tag } = splitReference(name);
  const byDigest = splitReference(text).digest !== undefined || text.startsWith('sha') || tag === undefined;
  if (!byDigest) return { shown: name, digest, remove: (from) => from.tag(repository, tag) };
  return {
    shown: `${repository}@${digest}`,
    names: [],
    remove: (from) => from.manifest(repository, digest),
  };
}
