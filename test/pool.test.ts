import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ImgconvError } from '../src/index.js';
import type { ScanJob } from '../src/bytes/scan.js';
import { Pool } from '../src/threads/pool.js';
import { refusal } from './support/errors.js';
import { digestText } from './support/images.js';
import { tempFolder } from './support/temp.js';

/** As many sizes as make a pool take them for many small files. */
const MANY = Array.from({ length: 300 }, () => 1);

function scanOf(path: string, link?: string): ScanJob {
  const { size } = statSync(path);
  const from = { kind: 'file', path, offset: 0, size, whole: true } as const;
  return { kind: 'scan', from, algorithm: 'sha256', link };
}

function sparse(size: number): string {
  const path = join(tempFolder(), 'sparse');
  writeFileSync(path, '');
  truncateSync(path, size);
  return path;
}

describe('large files', () => {
  for (const threads of [1, 2, 3]) {
    test(`are hashed and written by ${threads} thread(s), and by the one that waits for them`, async () => {
      await using pool = new Pool(threads);
      const paths = [30, 21, 17, 40, 9].map((megabytes) => {
        const path = join(tempFolder(), 'file');
        writeFileSync(path, Buffer.alloc(megabytes * 1024 * 1024 + 7, String(megabytes)));
        return path;
      });
      let seen = 0;
      const scans = paths.map((path, i) => {
        const to = { path: `${path}-copy`, position: 3, flags: 'wx', flush: i > 0 } as const;
        return { ...scanOf(path), to: i === 4 ? undefined : to };
      });
      const all = scans.map((job) => pool.scan(job, (count) => (seen += count)));
      const digests = (await Promise.all(all)).map(({ digest }) => digest);
      assert.deepEqual(
        digests,
        paths.map((path) => digestText(readFileSync(path))),
      );
      assert.equal(
        seen,
        paths.reduce((sum, path) => sum + statSync(path).size, 0),
      );
      for (const { from, to } of scans)
        if (to !== undefined) assert.ok(readFileSync(to.path).subarray(3).equals(readFileSync(from.path)));
    });
  }

  test('are not waited for by others while there is another thread', async () => {
    await using pool = new Pool(2, false);
    const ended: number[] = [];
    const megabytes = [600, 9, 9, 9, 9, 9];
    const scans = megabytes.map(async (size) => {
      await pool.scan(scanOf(sparse(size * 1024 * 1024)));
      ended.push(size);
    });
    await Promise.all(scans);
    assert.deepEqual(ended, megabytes.toReversed());
  });

  test('are left at once when the work is aborted', async () => {
    await using pool = new Pool(2);
    const links = [0, 1].map(() => join(tempFolder(), 'link'));
    const path = sparse(8 * 1024 ** 3);
    const scans = links.map((link) => pool.scan(scanOf(path, link)));
    const settled = Promise.allSettled(scans);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const since = Date.now();
    pool.abort(new ImgconvError('INTERRUPTED', 'enough'));
    for (const one of await settled) {
      assert.equal(one.status, 'rejected');
      assert.ok(refusal('INTERRUPTED')(one.reason));
    }
    await pool.close();
    assert.ok(Date.now() - since < 2000, 'eight gigabytes take longer');
    assert.deepEqual(
      links.map((link) => existsSync(link)),
      [false, false],
    );
  });

  test('are no longer linked when the pool is closed', async () => {
    const link = join(tempFolder(), 'link');
    const pool = new Pool(2);
    const path = sparse(8 * 1024 ** 3);
    const scans = [undefined, link, link, link, link].map((to) => pool.scan(scanOf(path, to)));
    let settled = 0;
    for (const scan of scans) scan.catch(() => settled++);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await pool.close();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(existsSync(link), false);
    // What a thread was at never ends; what this thread was at, and what waited for it, failed.
    assert.ok(settled >= 2, String(settled));
    assert.throws(() => {
      pool.expectRunning();
    }, refusal('INTERRUPTED'));
  });
});

describe('small files', () => {
  test('go to threads many at once, and each has its own result', async () => {
    await using pool = new Pool(2);
    pool.announce(MANY);
    const folder = tempFolder();
    const files = MANY.map((_, i) => {
      const path = join(folder, `file ${i}`);
      writeFileSync(path, `content ${i}`);
      return path;
    });
    const jobs = files.map((path, i) => scanOf(path, join(folder, `new/${i}/link`)));
    writeFileSync(join(folder, 'taken'), '');
    const [shrunk, taken] = [scanOf(files[8] ?? ''), scanOf(files[9] ?? '', join(folder, 'taken'))];
    writeFileSync(files[8] ?? '', 'less');
    const results = await Promise.allSettled([...jobs, shrunk, taken].map((job) => pool.scan(job)));
    for (const [i, result] of results.entries()) {
      if (i === 8 || i === files.length) {
        assert.equal(result.status, 'rejected');
        assert.ok(refusal('SOURCE_CHANGED', files[8] ?? '')(result.reason));
        continue;
      }
      assert.equal(result.status, 'fulfilled');
      const of = i > files.length ? 9 : i;
      assert.equal(result.value.digest, digestText(Buffer.from(`content ${of}`)));
      assert.equal(result.value.unlinked?.code, i > files.length ? 'EEXIST' : undefined);
      if (i < files.length) assert.equal(readFileSync(join(folder, `new/${i}/link`), 'utf8'), `content ${i}`);
    }
  });

  test('that wait for a thread fail when the work is aborted', async () => {
    await using pool = new Pool(2);
    pool.announce(MANY);
    const path = join(tempFolder(), 'file');
    writeFileSync(path, 'content');
    const scan = pool.scan(scanOf(path));
    pool.abort(new ImgconvError('INTERRUPTED', 'enough'));
    await assert.rejects(scan, refusal('INTERRUPTED', 'enough'));
  });
});

describe('a thread that is started early', () => {
  const module = fileURLToPath(new URL('../src/threads/thread.js', import.meta.url));
  const run = (script: string) => {
    const path = join(tempFolder(), 'script.mjs');
    writeFileSync(path, `import * as threads from ${JSON.stringify(module)};\n${script}`);
    return spawnSync(process.execPath, [path], { encoding: 'utf8', timeout: 20_000 });
  };

  test('does not keep the process', () => {
    const { status, stderr } = run('threads.startEarly();');
    assert.deepEqual([status, stderr], [0, '']);
  });

  test('does its work when it is taken', () => {
    const path = join(tempFolder(), 'file');
    writeFileSync(path, 'content');
    const request = { id: 1, job: scanOf(path) };
    const { status, stdout } = run(`
      threads.startEarly();
      const worker = threads.takeThread();
      worker.on('message', ({ result }) => {
        if (result === undefined) return; // Says how far it is.
        console.log(result.digest);
        void worker.terminate();
      });
      worker.postMessage(${JSON.stringify(request)});
    `);
    assert.deepEqual([status, stdout], [0, `${digestText(Buffer.from('content'))}\n`]);
  });
});
