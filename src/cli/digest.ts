import { parsePlatform } from '../model/platform.js';
import { chosenImages, digestOf } from '../upkeep/chosen.js';
import { printable, printableJson } from './exit.js';
import { sourceOf, type SourceArguments } from './sources.js';

export interface DigestArguments extends SourceArguments {
  readonly platform?: string;
  readonly json?: boolean | 'lines';
}

/** The digest of an image alone, as `crane digest` prints it; of several with their names. */
export async function digestCommand(args: DigestArguments): Promise<number> {
  const { place, access, selectors } = sourceOf(args, true);
  const platform = args.platform === undefined ? undefined : parsePlatform(args.platform);
  const found: { readonly name: string | undefined; readonly digest: string }[] = [];
  for await (const chosen of chosenImages(place, selectors, access))
    found.push({ name: chosen.image.name, digest: await digestOf(chosen, { platform }) });
  const [only, ...others] = found;
  if (args.json !== undefined && args.json !== false) process.stdout.write(`${printableJson(found, 2)}\n`);
  else if (only !== undefined && others.length === 0) process.stdout.write(`${only.digest}\n`);
  else for (const { name = '-', digest } of found) process.stdout.write(`${digest}  ${printable(name)}\n`);
  return 0;
}
