import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';

/*
 * The benches of test/torture with fixed seeds and small counts. `npm run test:disturb` is the long form; what one of
 * these finds comes again with the same words.
 */
const MAIN = join(import.meta.dirname, 'torture/disturb.js');

/** Runs a bench, which must find nothing; gives how often it did what its last word counts. */
async function bench(args: string, counted: string): Promise<number> {
  const child = spawn(process.execPath, ['--no-warnings', MAIN, ...args.split(' ')]);
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  const [status, out, problem] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  assert.equal(status, 0, `${out}${problem}`);
  const counts = [...out.matchAll(new RegExp(`(\\d+) ${counted}`, 'g'))].map(([, count]) => Number(count));
  return counts.reduce((sum, count) => sum + count, 0);
}

describe('torture, in short', { concurrency: 2 }, () => {
  test('killed at any moment or operation: whole, and the same command finishes', async () => {
    assert.equal(await bench('kill --seed short --count 4 --step 107 --size 100000', 'kills'), 4);
  });

  // One source and all targets: steps are primes, so that no two runs fail the same operations.
  for (const [what, args] of [
    ['a disk that fails once', 'faults --from dir --first 5 --step 103 --actions EIO,ENOSPC,EACCES,EXDEV'],
    ['a disk that stays full', 'faults --from dir --first 11 --step 97 --actions ENOSPC --lasting'],
    [
      'a disk that fails for good',
      'faults --from dir --to reg,oci --before nothing --first 32 --step 37 --actions EIO,EMFILE --lasting',
    ],
    ['short reads and writes', 'faults --from tar --before nothing --first 3 --step 53 --actions short'],
    ['SIGTERM at any operation', 'faults --from dir --first 7 --step 113 --actions SIGTERM'],
    [
      'a source that is changed under the reader',
      'faults --from dir --before nothing --to reg,oci --step 11 --actions grow,swap',
    ],
  ] as const) {
    test(`${what}: an error that says where, nothing damaged, nothing left`, async () => {
      assert.ok((await bench(args, 'runs')) > 10);
    });
  }

  test('eight writers at once, gc and verify in one layout and one tree: nothing is lost', async () => {
    assert.ok((await bench('writers --seed short --count 1 --to oci,dir', 'commands')) > 16);
  });
});
