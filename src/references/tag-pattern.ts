/** What Go's regular expressions have and JavaScript's write otherwise (https://github.com/google/re2/wiki/Syntax). */
const POSIX: Record<string, string> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  digit: '0-9',
  lower: 'a-z',
  punct: '!-\\/:-@\\[-`{-~',
  upper: 'A-Z',
  word: '\\w',
  xdigit: '0-9A-Fa-f',
};

/**
 * A pattern of Go's for tags, which are at most 128 characters; it matches anywhere, unless it says `^` or `$`.
 * @throws SyntaxError for what is no pattern there: look-around and back-references are not
 */
export function parseTagPattern(text: string): RegExp {
  const [whole = '', flags = ''] = /^\(\?([ims]+)\)/.exec(text) ?? [];
  const body = text.slice(whole.length);
  const banned = /(?<!\\)(?:\\\\)*(\(\?(?:[=!]|<[=!])|\\[1-9])/.exec(body)?.[1];
  if (banned !== undefined) throw new SyntaxError(`${banned} is not to be had in Go's regular expressions`);
  const source = body
    .replaceAll('(?P<', '(?<')
    .replaceAll(/\[:(\w+):\]/g, (all, name: string) => POSIX[name] ?? all)
    .replaceAll(/(?<!\\)((?:\\\\)*)\\A/g, '$1^')
    .replaceAll(/(?<!\\)((?:\\\\)*)\\z/g, '$1$');
  return new RegExp(source, flags);
}
