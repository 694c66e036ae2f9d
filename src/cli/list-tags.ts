import { withTags } from '../formats/docker/tags.js';
import { ImgconvError } from '../model/errors.js';
import { repositoryKey, splitReference } from '../model/reference.js';
import { listNames } from '../upkeep/list.js';
import { printable, printableJson } from './exit.js';
import { Interrupt } from './interrupt.js';
import { repositoryArgument, sourceOf, type SourceArguments } from './sources.js';

export interface ListTagsArguments extends Omit<SourceArguments, 'REF'> {
  readonly REPOSITORY?: string;
  readonly json?: boolean | 'lines';
}

/** The tags of a repository, a line each; `--json` gives skopeo's document. */
export async function listTagsCommand(args: ListTagsArguments): Promise<number> {
  const { place, access } = sourceOf(args);
  const repository = repositoryArgument(place, args.REPOSITORY);
  using interrupt = new Interrupt();
  const tags =
    place.format.registry === undefined
      ? tagsIn(await listNames(place), repository)
      : await withTags(access, interrupt.signal, (list) =>
          list(repository.startsWith(place.path) ? repository : `${place.path}/${repository}`),
        );
  if (tags === undefined)
    throw new ImgconvError('NOT_FOUND', `${repository}: there is no such repository`, {
      hint: `imgconv ls ${args.SRC} shows what there is`,
    });
  if (args.json !== undefined && args.json !== false)
    process.stdout.write(`${printableJson({ Repository: repository, Tags: tags }, 2)}\n`);
  else process.stdout.write(tags.map((tag) => `${printable(tag)}\n`).join(''));
  return 0;
}

function tagsIn(names: readonly string[], repository: string): readonly string[] | undefined {
  const key = repositoryKey(repository);
  const tags = names.flatMap((name) =>
    repositoryKey(splitReference(name).name) === key ? (splitReference(name).tag ?? []) : [],
  );
  return tags.length === 0 ? undefined : [...new Set(tags)].sort();
}
