import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempFolder } from '../support/temp.js';
import { contentsOf, stateOf } from '../support/snapshot.js';

/** A destination amid files that nothing may touch, as names that lead out of it would. */
export class Sentinel {
  readonly root: string;
  /** Where a conversion may write. */
  readonly destination: string;
  /** A file that nothing may read into the destination. */
  readonly secret: string;
  readonly #before: string;

  constructor() {
    this.root = tempFolder();
    for (const name of ['etc/passwd', 'a/b/evil', 'evil', 'a/evil', 'a/b/c/blobs/sha256/evil']) {
      mkdirSync(join(this.root, name, '..'), { recursive: true });
      writeFileSync(join(this.root, name), 'untouched');
    }
    this.secret = join(this.root, 'a/b/secret');
    writeFileSync(this.secret, 'the secret of the sentinel');
    this.destination = join(this.root, 'a/b/c/destination');
    this.#before = this.#state();
  }

  #state(): string {
    const outside = Object.entries(stateOf(this.root)).filter(
      ([name]) => name !== 'a/b/c/destination' && !name.startsWith('a/b/c/destination/'),
    );
    return JSON.stringify([
      outside,
      Object.entries(contentsOf(this.root)).filter(([name]) => !name.startsWith('a/b/c/destination')),
    ]);
  }

  /** Nothing but plain files and folders was made, all of it inside, and no unfinished work is left. */
  expectUntouched(): void {
    assert.equal(this.#state(), this.#before, 'something outside the destination was touched');
    const stat = lstatSync(this.destination, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (!stat.isDirectory()) {
      assert.ok(stat.isFile());
      return;
    }
    for (const entry of readdirSync(this.destination, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      assert.ok(entry.isFile() || entry.isDirectory(), `${path} is neither a file nor a folder`);
      assert.ok(!entry.name.startsWith('.imgconv-'), `${path} was left behind`);
    }
  }

  /** For the next one. */
  clear(): void {
    rmSync(this.destination, { recursive: true, force: true });
  }
}
