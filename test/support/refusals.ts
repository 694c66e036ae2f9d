import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { imgconvEach, type Outcome } from './cli.js';

/** Words of a command line, what is said to be wrong with them, and what to do instead. */
export type Refused = readonly [words: string, what: string, instead: string];

/**
 * Each is refused in two lines, with nothing on stdout and nothing written to `DST`. Of `paths` the names, in capitals,
 * stand in the words: alone, after a prefix, before what follows the path.
 */
export function refusals(
  title: string,
  paths: Readonly<Record<string, string>> & { readonly DST: string },
  cases: readonly Refused[],
  status = 2,
): void {
  const named = new RegExp(`^((?:[a-z-]+:)?)(${Object.keys(paths).join('|')})(?![A-Z])`);
  const argsOf = (words: string) =>
    words
      .split(' ')
      .map((word) => word.replace(named, (_, prefix: string, name: string) => prefix + (paths[name] ?? '')));
  describe(title, () => {
    let outcomes: readonly Outcome[] = [];
    before(async () => {
      outcomes = await imgconvEach(cases.map(([words]) => argsOf(words)));
    });
    for (const [i, [words, what, instead]] of cases.entries())
      test(words, () => {
        const { status: ended, stdout, stderr = '' } = outcomes[i] ?? {};
        assert.equal(ended, status, stderr);
        assert.equal(stdout, '');
        const [first = '', second = '', ...rest] = stderr.split('\n');
        assert.deepEqual(rest, [''], `not two lines: ${stderr}`);
        assert.match(first, /^imgconv: /);
        assert.match(second, /^ {2}\S/);
        assert.ok(`${first}${second}`.includes(what), stderr);
        assert.ok(`${first}${second}`.includes(instead), stderr);
        assert.equal(existsSync(paths.DST), false);
      });
  });
}
