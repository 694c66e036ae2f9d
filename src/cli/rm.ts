import type { Removal } from '../formats/removal.js';
import { prefixOf } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { isDigest } from '../model/digest.js';
import { isGlob, splitReference } from '../model/reference.js';
import type { Selector } from '../transfer/select.js';
import { chosenImages } from '../upkeep/chosen.js';
import { printable } from './exit.js';
import { Interrupt } from './interrupt.js';
import { shellText } from './shell.js';
import { sourceOf, type SourceArguments } from './sources.js';

export interface RemoveArguments extends SourceArguments {
  readonly dryRun?: boolean;
}

/** What is to be removed: a name, or a manifest with all its names. */
interface Target {
  readonly shown: string;
  readonly digest: string;
  remove(from: Removal): Promise<boolean>;
}

/** Tags and images out of a place; all that is named has to be there before anything is removed. */
export async function rmCommand(args: RemoveArguments): Promise<number> {
  const { SRC, dryRun = false } = args;
  const { place, access, selectors } = sourceOf(args);
  const { format, path, storage } = place;
  expectExact(SRC, selectors);
  if (format.remove === undefined)
    throw new ImgconvError(
      'USAGE',
      `${path}: nothing is removed from ${prefixOf(format)}, which is one file`,
      {
        hint: 'write a new archive of the other images: imgconv tar2tar, or imgconv ocitar2ocitar',
      },
    );
  const targets: Target[] = [];
  for (const selector of selectors)
    for await (const { image } of chosenImages(place, [selector], access))
      targets.push(targetOf(selector, image.name ?? '', image.digest));
  using interrupt = new Interrupt();
  const removal = await format.remove(path, { access, signal: interrupt.signal }, storage);
  try {
    for (const target of new Map(targets.map((one) => [one.shown, one])).values()) {
      if (!dryRun) await target.remove(removal);
      process.stdout.write(
        `${`${dryRun ? 'would remove' : 'removed'} ${printable(target.shown)} ${target.digest}`.trimEnd()}\n`,
      );
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

/** A tag that is asked for by its name goes alone; by a digest the manifest goes, with its tags. */
function targetOf({ text }: Selector, name: string, digest: Target['digest']): Target {
  const { name: repository, tag } = splitReference(name);
  const byDigest = splitReference(text).digest !== undefined || text.startsWith('sha') || tag === undefined;
  if (!byDigest) return { shown: name, digest, remove: (from) => from.tag(repository, tag) };
  return {
    shown: `${repository}@${digest}`,
    digest: '',
    remove: (from) => (isDigest(digest) ? from.manifest(repository, digest) : Promise.resolve(false)),
  };
}
