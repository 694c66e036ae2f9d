import { RE2JS } from 're2js';

/**
 * A pattern of Go's for tags, of which each is tested in linear time, as Go's own engine does it; it matches anywhere,
 * unless it says `^` or `$` (https://github.com/google/re2/wiki/Syntax).
 * @throws Error for what is no pattern there: look-around and back-references are not
 */
export function parseTagPattern(text: string): { test(tag: string): boolean } {
  const pattern = RE2JS.compile(text);
  return { test: (tag) => pattern.test(tag) };
}
