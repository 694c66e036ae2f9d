import { globMatcher } from '../model/glob.js';
import { choiceOf, isGlob, repositoryKey } from '../model/reference.js';

/**
 * Tells of the names of an image whether one of them can be meant by what is asked for (`ListOptions.wanted`): other
 * images need not be read. Repositories are compared without their hosts and tags.
 */
export function wantedMatcher(
  wanted: readonly string[] | undefined,
): (references: readonly string[]) => boolean {
  // A digest may be that of any image.
  if (wanted?.every((text) => choiceOf(text) === undefined && !(isGlob(text) && text.includes('@'))) !== true)
    return () => true;
  const keys = new Set(wanted.filter((text) => !isGlob(text)).map(repositoryKey));
  const globs = wanted.filter(isGlob).map(globMatcher);
  return (references) =>
    references.some((one) => keys.has(repositoryKey(one)) || globs.some((matches) => matches(one)));
}
