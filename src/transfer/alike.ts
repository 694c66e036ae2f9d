import { nearest } from '../model/nearest.js';
import { isGlob, repositoryKey, splitReference } from '../model/reference.js';

/** Says which of these names a name that is not among them may stand for: by its repository, a part of that, or a slip. */
export function alike(text: string, names: readonly string[]): string | undefined {
  if (isGlob(text)) return undefined;
  const wanted = repositoryKey(text);
  const byRepository = new Map<string, string[]>();
  for (const name of names) {
    const key = repositoryKey(name);
    const others = byRepository.get(key);
    if (others === undefined) byRepository.set(key, [name]);
    else others.push(name);
  }
  const repositories = [...byRepository.keys()];
  const partly = repositories.filter((one) => one.endsWith(`/${wanted}`) || wanted.endsWith(`/${one}`));
  const meant = byRepository.has(wanted)
    ? [wanted]
    : partly.length > 0
      ? partly
      : [slipOf(wanted, repositories) ?? ''];
  const suffix = text.slice(splitReference(text).name.length);
  const found = meant.flatMap((one) => byRepository.get(one) ?? []);
  if (found.length === 0) return undefined;
  found.sort((a, b) => Number(b.endsWith(suffix)) - Number(a.endsWith(suffix)));
  return `there are ${found.slice(0, 5).join(', ')}${found.length > 5 ? ` and ${found.length - 5} more` : ''}`;
}

/** What a slip of the pen made of one: beside others the last component counts alone, as what goes before is right. */
function slipOf(wanted: string, repositories: readonly string[]): string | undefined {
  const below = wanted.slice(0, wanted.lastIndexOf('/') + 1);
  const isBeside = (one: string) => one.startsWith(below) && !one.slice(below.length).includes('/');
  const lasts = repositories.filter(isBeside).map((one) => one.slice(below.length));
  const last = nearest(wanted.slice(below.length), lasts);
  if (last !== undefined) return `${below}${last}`;
  return nearest(
    wanted,
    repositories.filter((one) => !isBeside(one)),
  );
}
