import { RE2JS } from 're2js';

/**
 * A regular expression of Go (https://github.com/google/re2/wiki/Syntax). It matches anywhere in a tag unless it has `^` or
 * `$`, and in linear time.
 * @throws Error for other patterns, such as look-around and back-references
 */
export function parseTagPattern(text: string): { test(tag: string): boolean } {
  const pattern = RE2JS.compile(text);
  return { test: (tag) => pattern.test(tag) };
}
