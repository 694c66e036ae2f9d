/** One way to authenticate to a server (RFC 9110, 11.6.1 `WWW-Authenticate`). */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: Readonly<Partial<Record<string, string>>>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const PARAMETER = /\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))\s*/y;
const BETWEEN = /[\s,]+/y;

/** The challenges of a header, scheme in lower case; the first malformed one ends the list. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(BETWEEN);
    const scheme = take(TOKEN)?.[0];
    if (scheme === undefined) return challenges;
    const parameters = new Map<string, string>();
    for (;;) {
      const start = at;
      take(BETWEEN);
      const match = take(PARAMETER);
      if (match === null) {
        at = start;
        break;
      }
      const [, name = '', quoted, plain] = match;
      parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '');
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters: Object.fromEntries(parameters) });
  }
}
