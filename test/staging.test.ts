import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import { writeFully } from '../src/bytes/output.js';
import { STEPS } from '../src/storage/driver.js';
import { StagedTree } from '../src/storage/staged-tree.js';
import { ownerName } from '../src/storage/owner.js';
import { Pool } from '../src/threads/pool.js';
import { headOf } from '../src/bytes/region.js';
import { Staging, STAGING_PREFIX } from '../src/storage/staging.js';
import { Transaction } from '../src/storage/transaction.js';
import { refusal } from './support/errors.js';
import { put } from './support/images.js';
import { contentsOf, stagingIn } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';

const MODULE = new URL('../src/storage/staging.js', import.meta.url).href;

/** A process that has unfinished work in `root`: it runs `code` with `staging` at hand. */
function owner(root: string, code: string): readonly string[] {
  const script = `import { Staging } from ${JSON.stringify(MODULE)};
    import { writeFileSync } from 'node:fs';
    const staging = new Staging(${JSON.stringify(root)});
    writeFileSync(staging.path(), 'unfinished');
    ${code}`;
  return ['--input-type=module', '-e', script];
}

/** What such a process leaves when it is killed. */
function killed(root: string, code = ''): void {
  const { signal } = spawnSync(
    process.execPath,
    owner(root, `${code}; process.kill(process.pid, 'SIGKILL');`),
  );
  assert.equal(signal, 'SIGKILL');
}

describe('staging', () => {
  test('is made when it is needed, inside its root', () => {
    const root = join(tempFolder(), 'not', 'there');
    using staging = new Staging(root);
    assert.equal(existsSync(root), false);
    const path = staging.path();
    assert.equal(basename(join(path, '..')).startsWith(STAGING_PREFIX), true);
    assert.ok(path.startsWith(root));
    assert.notEqual(staging.path(), path);
  });

  test('is gone with its content when it is disposed of', () => {
    const root = tempFolder();
    {
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
      mkdirSync(staging.path());
    }
    assert.deepEqual(readdirSync(root), []);
  });

  test('of a dead process is cleared by a run that finds all there already', async () => {
    const root = tempFolder();
    killed(root);
    assert.ok(stagingIn(root).length > 0);
    await new Transaction(new Staging(root)).commit();
    assert.deepEqual(stagingIn(root), []);
  });

  test('of a dead process is cleared by the next one', () => {
    const root = tempFolder();
    killed(root);
    assert.equal(stagingIn(root).length > 0, true);
    {
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
    }
    assert.deepEqual(readdirSync(root), []);
  });

  test('of a live process is left alone', async () => {
    const root = tempFolder();
    const child = spawn(
      process.execPath,
      owner(root, `console.log('ready'); setInterval(() => undefined, 1000);`),
    );
    try {
      await once(child.stdout, 'data');
      const before = stagingIn(root);
      assert.ok(before.length > 0);
      {
        using staging = new Staging(root);
        writeFileSync(staging.path(), 'x');
      }
      assert.deepEqual(stagingIn(root), before);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  test('of this very process is left alone', () => {
    const root = tempFolder();
    using one = new Staging(root);
    const path = one.path();
    writeFileSync(path, 'x');
    {
      using other = new Staging(root);
      writeFileSync(other.path(), 'y');
    }
    assert.equal(readFileSync(path, 'utf8'), 'x');
  });

  test('of a process that could not learn its own start time is left alone while that is there', () => {
    const root = tempFolder();
    const [space = ''] = ownerName().split('-');
    const folder = join(root, `${STAGING_PREFIX}${space}-${process.pid}-0-abcdef`);
    mkdirSync(folder);
    {
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
    }
    assert.ok(existsSync(folder));
  });

  for (const [title, hours, left] of [
    ['an hour old is left alone', 1, true],
    ['two days old is cleared', 48, false],
  ] as const) {
    test(`of another machine, ${title}`, () => {
      const root = tempFolder();
      const folder = join(root, `${STAGING_PREFIX}0badf00d-1-1-abcdef`);
      mkdirSync(folder);
      const then = new Date(Date.now() - hours * 3_600_000);
      utimesSync(folder, then, then);
      {
        using staging = new Staging(root);
        writeFileSync(staging.path(), 'x');
      }
      assert.equal(existsSync(folder), left);
    });
  }

  // Lock files have such names too (src/storage/lock.ts), and a process may be killed while it has one.
  for (const name of ['lock', 'lock-0badf00d-1-1-abcdef', '0badf00d-1-1-abcdef']) {
    test(`is not stopped by an old file called ${STAGING_PREFIX}${name}`, () => {
      const root = tempFolder();
      const path = join(root, `${STAGING_PREFIX}${name}`);
      writeFileSync(path, '0badf00d-1-1-abcdef');
      const then = new Date(Date.now() - 48 * 3_600_000);
      utimesSync(path, then, then);
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
    });
  }

  const isRoot = process.getuid?.() === 0;
  test(
    "is not stopped by another user's, which it may not clear",
    { skip: isRoot ? false : 'only root can be another user' },
    () => {
      const root = tempFolder();
      killed(root);
      const before = stagingIn(root);
      // As /tmp is, where an archive may be written.
      chmodSync(join(root, '..'), 0o755);
      chmodSync(root, 0o1777);
      const script = `import { Staging } from ${JSON.stringify(MODULE)};
      import { writeFileSync } from 'node:fs';
      process.seteuid(65534);
      const staging = new Staging(${JSON.stringify(root)});
      writeFileSync(staging.path(), 'x');
      staging[Symbol.dispose]();`;
      const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
      });
      assert.equal(status, 0, stderr);
      assert.deepEqual(stagingIn(root), before);
    },
  );

  test('clears nothing that is not its own', () => {
    const root = tempFolder();
    for (const name of ['imgconv-1', '.imgconv', '.other-1-1', 'demo']) put(join(root, name, 'file'), 'mine');
    const before = contentsOf(root);
    killed(root);
    {
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
    }
    assert.deepEqual(contentsOf(root), before);
  });
});

describe('what was moved aside', () => {
  test('is gone with the staging folder once something is in its place', () => {
    const root = tempFolder();
    put(join(root, 'demo/app:1/manifest.json'), 'old');
    {
      using staging = new Staging(root);
      staging.displace(join(root, 'demo/app:1'));
      put(join(root, 'demo/app:1/manifest.json'), 'new');
    }
    assert.deepEqual(contentsOf(root), { 'demo/app:1/manifest.json': 'new' });
  });

  test('is put back when nothing took its place', () => {
    const root = tempFolder();
    put(join(root, 'demo/app:1/manifest.json'), 'old');
    {
      using staging = new Staging(root);
      staging.displace(join(root, 'demo/app:1'));
      assert.equal(existsSync(join(root, 'demo/app:1')), false);
    }
    assert.deepEqual(contentsOf(root), { 'demo/app:1/manifest.json': 'old' });
  });

  test('is put back by the next process when its own was killed', () => {
    const root = tempFolder();
    put(join(root, 'demo/app:1/manifest.json'), 'old');
    killed(root, `staging.displace(${JSON.stringify(join(root, 'demo/app:1'))})`);
    assert.equal(existsSync(join(root, 'demo/app:1')), false);
    {
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
    }
    assert.deepEqual(contentsOf(root), { 'demo/app:1/manifest.json': 'old' });
  });

  test('by a killed process does not replace what came after', () => {
    const root = tempFolder();
    put(join(root, 'demo/app:1/manifest.json'), 'old');
    killed(root, `staging.displace(${JSON.stringify(join(root, 'demo/app:1'))})`);
    put(join(root, 'demo/app:1/manifest.json'), 'new');
    {
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
    }
    assert.deepEqual(contentsOf(root), { 'demo/app:1/manifest.json': 'new' });
  });

  // In a folder that others may write to, such as /tmp, all of this may be planted.
  test('is put back through no symbolic link', () => {
    const outer = tempFolder();
    const root = join(outer, 'root');
    mkdirSync(join(outer, 'etc'));
    mkdirSync(root);
    symlinkSync(join(outer, 'etc'), join(root, 'linked'));
    const folder = join(root, `${STAGING_PREFIX}0badf00d-1-1-abcdef`);
    put(join(folder, '0'), 'planted');
    put(join(folder, '0.displaced'), 'linked/planted');
    const then = new Date(Date.now() - 48 * 3_600_000);
    utimesSync(folder, then, then);
    {
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
    }
    assert.deepEqual(readdirSync(join(outer, 'etc')), []);
  });

  test(
    "is neither put back nor cleared when it is another user's, in a folder that is not that user's",
    { skip: process.getuid?.() !== 0 && 'needs root' },
    () => {
      const root = tempFolder();
      const folder = join(root, `${STAGING_PREFIX}0badf00d-1-1-abcdef`);
      put(join(folder, '0'), 'planted');
      put(join(folder, '0.displaced'), 'planted');
      const then = new Date(Date.now() - 48 * 3_600_000);
      chownSync(folder, 12_345, 12_345);
      utimesSync(folder, then, then);
      {
        using staging = new Staging(root);
        writeFileSync(staging.path(), 'x');
      }
      assert.deepEqual(Object.keys(contentsOf(root)), [
        `${basename(folder)}/0`,
        `${basename(folder)}/0.displaced`,
      ]);
      chownSync(root, 12_345, 12_345);
      {
        using staging = new Staging(root);
        writeFileSync(staging.path(), 'x');
      }
      assert.deepEqual(contentsOf(root), { planted: 'planted' });
    },
  );

  test('is put back nowhere but below the root', () => {
    const outer = tempFolder();
    const root = join(outer, 'root');
    mkdirSync(root);
    killed(root, `writeFileSync(staging.path() + '.displaced', '../outside')`);
    const folder = join(root, readdirSync(root)[0] ?? '');
    put(join(folder, '1'), 'planted');
    {
      using staging = new Staging(root);
      writeFileSync(staging.path(), 'x');
    }
    assert.equal(existsSync(join(outer, 'outside')), false);
    assert.deepEqual(readdirSync(root), []);
  });
});

describe('a transaction', () => {
  test('shows nothing before it is committed, and all after', async () => {
    const root = tempFolder();
    {
      using staging = new Staging(root);
      const transaction = new Transaction(staging);
      transaction.write(join(root, 'tag'), 'tag', 'tag');
      transaction.write(join(root, 'a/b/content'), 'content');
      const staged = staging.path();
      mkdirSync(staged);
      put(join(staged, 'file'), 'in a folder');
      transaction.moveFolder(staged, join(root, 'folder'));
      assert.deepEqual(readdirSync(root), [basename(staging.folder)]);
      await transaction.commit();
    }
    assert.deepEqual(contentsOf(root), {
      'a/b/content': 'content',
      'folder/file': 'in a folder',
      tag: 'tag',
    });
  });

  // A file where a folder has to be makes a step fail: what had been done by then is seen, and what not.
  test('makes no tag visible when its content cannot be', async () => {
    const root = tempFolder();
    put(join(root, 'blocked'), 'a file');
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    transaction.write(join(root, 'tag'), 'tag', 'tag');
    transaction.write(join(root, 'a'), 'content');
    transaction.write(join(root, 'blocked/second'), 'content');
    transaction.write(join(root, 'c'), 'content');
    await assert.rejects(transaction.commit());
    assert.deepEqual(
      ['a', 'c', 'tag'].map((name) => existsSync(join(root, name))),
      [true, false, false],
    );
  });

  test('makes all content visible before any tag', async () => {
    const root = tempFolder();
    put(join(root, 'blocked'), 'a file');
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    transaction.write(join(root, 'blocked/tag'), 'tag', 'tag');
    transaction.write(join(root, 'later tag'), 'tag', 'tag');
    transaction.write(join(root, 'content'), 'content');
    await assert.rejects(transaction.commit());
    assert.deepEqual(
      ['content', 'later tag'].map((name) => existsSync(join(root, name))),
      [true, false],
    );
  });

  test('keeps the order in which tags were added', async () => {
    const root = tempFolder();
    put(join(root, 'blocked'), 'a file');
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    transaction.write(join(root, 'index'), 'tag', 'tag');
    transaction.write(join(root, 'blocked/current'), 'tag', 'tag');
    transaction.write(join(root, 'a'), 'tag', 'tag');
    await assert.rejects(transaction.commit());
    assert.deepEqual(
      ['index', 'a'].map((name) => existsSync(join(root, name))),
      [true, false],
    );
  });

  test('does nothing the second time', async () => {
    const root = tempFolder();
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    transaction.write(join(root, 'content'), 'once');
    await transaction.commit();
    writeFileSync(join(root, 'content'), 'mine');
    await transaction.commit();
    assert.equal(readFileSync(join(root, 'content'), 'utf8'), 'mine');
  });

  test('with very many files is committed too', async () => {
    const root = tempFolder();
    {
      using staging = new Staging(root);
      const transaction = new Transaction(staging);
      for (let i = 0; i < 200; i++) transaction.write(join(root, `${i % 7}`, String(i)), String(i));
      await transaction.commit();
    }
    const contents = contentsOf(root);
    assert.equal(Object.keys(contents).length, 200);
    for (const [path, content] of Object.entries(contents)) assert.equal(basename(path), content);
  });

  test('puts a replaced folder back when the new one cannot take its place', async () => {
    const root = tempFolder();
    put(join(root, 'demo/app:1/manifest.json'), 'old');
    {
      using staging = new Staging(root);
      const transaction = new Transaction(staging);
      const staged = staging.path();
      mkdirSync(staged);
      transaction.moveFolder(join(staged, 'not-there'), join(root, 'demo/app:1'));
      await assert.rejects(transaction.commit());
    }
    assert.deepEqual(contentsOf(root), { 'demo/app:1/manifest.json': 'old' });
  });
});

describe('a failed run', () => {
  test('leaves none of the folders that it made, unless something is in them', async () => {
    const root = join(tempFolder(), 'new', 'root');
    {
      using staging = new Staging(root);
      const transaction = new Transaction(staging);
      transaction.move(join(root, 'not staged'), join(root, 'second/deep/content'));
      await assert.rejects(transaction.commit());
    }
    assert.equal(existsSync(root), false);
  });

  test('leaves what others have put into its folders', () => {
    const root = join(tempFolder(), 'root');
    {
      using staging = new Staging(join(root, 'used/empty'));
      staging.path();
      writeFileSync(join(root, 'used/file'), 'of another');
    }
    assert.deepEqual(readdirSync(root, { recursive: true }).sort(), ['used', 'used/file']);
  });
});

describe('writers beside one another', () => {
  test('make a folder anew that another one cleared away', async () => {
    const root = tempFolder();
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    transaction.write(join(root, 'shared/a'), 'a');
    await transaction.commit();
    rmSync(join(root, 'shared'), { recursive: true });
    transaction.write(join(root, 'shared/b'), 'b');
    await transaction.commit();
    assert.equal(readFileSync(join(root, 'shared/b'), 'utf8'), 'b');
  });

  test('merge their folders, and replace files of the same name', async () => {
    const root = tempFolder();
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    for (const name of ['kept/deep/new', 'kept/same', 'new/deep/file'])
      transaction.write(join(root, name), 'mine');
    put(join(root, 'kept/deep/old'), 'theirs');
    put(join(root, 'kept/same'), 'theirs');
    mkdirSync(join(root, 'new/deep'), { recursive: true });
    await transaction.commit();
    assert.deepEqual(contentsOf(root), {
      'kept/deep/new': 'mine',
      'kept/deep/old': 'theirs',
      'kept/same': 'mine',
      'new/deep/file': 'mine',
    });
  });

  test('put content before tags into a folder that came to be meanwhile', async () => {
    const root = tempFolder();
    using staging = new Staging(root);
    const tree = new StagedTree(staging, undefined);
    tree.write(join(root, 'repo/tags/1/link'), 'tag', 'tag');
    tree.write(join(root, 'repo/layers/a/link'), 'content', 'content');
    await tree.assembled();
    const visible = () => Object.keys(contentsOf(root)).filter((name) => !name.startsWith(STAGING_PREFIX));
    tree.merge('content');
    assert.deepEqual(visible(), [], 'a new folder comes with its tags');
    put(join(root, 'repo/other'), 'theirs');
    tree.merge('tag');
    assert.deepEqual(visible(), ['repo/other']);
    tree.merge('content');
    assert.deepEqual(visible().sort(), ['repo/layers/a/link', 'repo/other']);
    tree.merge('tag');
    assert.deepEqual(visible().sort(), ['repo/layers/a/link', 'repo/other', 'repo/tags/1/link']);
    assert.equal(tree.isEmpty, true);
  });

  test('put an index after its members and before its tag, whatever they are called', async () => {
    const root = tempFolder();
    put(join(root, 'repo/other'), 'theirs');
    using staging = new Staging(root);
    const tree = new StagedTree(staging, undefined);
    tree.write(join(root, 'repo/z member'), 'member', 'content');
    tree.write(join(root, 'repo/m inner'), 'inner', 'index');
    tree.write(join(root, 'repo/b outer'), 'outer', 'index');
    tree.write(join(root, 'repo/a tag'), 'tag', 'tag');
    await tree.assembled();
    const order: string[] = [];
    for (const step of STEPS) {
      tree.merge(step);
      const mine = Object.keys(contentsOf(join(root, 'repo'))).filter((name) => name !== 'other');
      order.push(mine.sort().join(', '));
    }
    assert.deepEqual(order, ['z member', 'b outer, m inner, z member', 'a tag, b outer, m inner, z member']);
  });

  test('that were dropped go nowhere, and those that were kept after all do', async () => {
    const root = tempFolder();
    {
      using staging = new Staging(root);
      const transaction = new Transaction(staging);
      const pathOf = (name: string) => join(root, `blobs/${name}/data`);
      for (const name of ['kept', 'dropped', 'again']) put(transaction.reserve(pathOf(name)), name);
      transaction.reserve(pathOf('never made'));
      for (const name of ['dropped', 'again', 'never made']) transaction.drop(pathOf(name));
      for (const name of ['kept', 'again']) transaction.keep(pathOf(name));
      await transaction.commit();
    }
    assert.deepEqual(contentsOf(root), { 'blobs/kept/data': 'kept', 'blobs/again/data': 'again' });
    assert.deepEqual(readdirSync(join(root, 'blobs')).sort(), ['again', 'kept']);
  });

  test('are told apart from all else, however the root is called', async () => {
    const [root, cwd] = [tempFolder(), process.cwd()];
    process.chdir(root);
    try {
      for (const [name, path] of [
        ['.', './out'],
        ['./d', './d/out'],
        ['d//e/', 'd//e/out'],
      ] as const) {
        using staging = new Staging(name);
        const tree = new StagedTree(staging, undefined);
        tree.write(path, 'tag', 'tag');
        await tree.assembled();
        tree.merge('content');
        assert.equal(existsSync(path), false, path);
        tree.merge('tag');
        assert.equal(readFileSync(path, 'utf8'), 'tag');
      }
    } finally {
      process.chdir(cwd);
    }
  });

  test('that somebody clears away are not taken for written', async () => {
    const root = tempFolder();
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    put(transaction.reserve(join(root, 'blob')), 'content');
    transaction.keep(join(root, 'blob'));
    for (const name of readdirSync(staging.folder)) rmSync(join(staging.folder, name), { recursive: true });
    transaction.write(join(root, 'tag'), 'tag', 'tag');
    await assert.rejects(transaction.commit(), /was removed/);
    assert.equal(existsSync(join(root, 'tag')), false);
  });

  test('go neither through a symbolic link nor over a file', async () => {
    const [root, other] = [tempFolder(), tempFolder()];
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    symlinkSync(other, join(root, 'link'));
    transaction.write(join(root, 'link/deep/file'), 'mine');
    await assert.rejects(transaction.commit(), refusal('IO', join(root, 'link'), 'is a symbolic link'));
    assert.deepEqual(readdirSync(other), []);
    rmSync(join(root, 'link'));
    put(join(root, 'file'), 'theirs');
    transaction.write(join(root, 'file/below'), 'mine');
    await assert.rejects(transaction.commit(), refusal('IO', join(root, 'file'), 'not a folder'));
    assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'theirs');
  });

  test('make what is much on other threads, with the same result', async () => {
    const roots = [tempFolder(), tempFolder()];
    await using pool = new Pool(2);
    for (const [i, root] of roots.entries()) {
      using staging = new Staging(root);
      const transaction = new Transaction(staging, i === 0 ? pool : undefined);
      for (let n = 0; n < 2000; n++) {
        const staged = staging.path();
        writeFileSync(staged, `moved ${n}`);
        transaction.move(staged, join(root, `blobs/${n % 16}/${n}/data`));
        transaction.write(
          join(root, `links/${n % 7}/${n}/link`),
          `link ${n}`,
          n % 2 === 0 ? 'content' : 'tag',
        );
      }
      await transaction.commit();
    }
    const [one = '', other = ''] = roots;
    assert.equal(Object.keys(contentsOf(one)).length, 4000);
    assert.deepEqual(contentsOf(one), contentsOf(other));
  });

  test('put the folder back that was moved aside last', () => {
    const root = tempFolder();
    {
      using staging = new Staging(root);
      for (let i = 0; i < 12; i++) {
        put(join(root, 'demo/app:1/manifest.json'), String(i));
        staging.displace(join(root, 'demo/app:1'));
      }
    }
    assert.deepEqual(contentsOf(root), { 'demo/app:1/manifest.json': '11' });
  });

  test('replace a folder one after another when they all took it for missing', async () => {
    const root = tempFolder();
    const staged = (text: string, staging: Staging) => {
      const folder = staging.path();
      put(join(folder, 'file'), text);
      return folder;
    };
    {
      using one = new Staging(root);
      using other = new Staging(root);
      const [a, b] = [new Transaction(one), new Transaction(other)];
      const [x, y] = [staged('x', one), staged('y', other)];
      a.moveFolder(x, join(root, 'image'));
      b.moveFolder(y, join(root, 'image'));
      await Promise.all([a.commit(), b.commit()]);
    }
    assert.match(readFileSync(join(root, 'image/file'), 'utf8'), /^[xy]$/);
    assert.deepEqual(stagingIn(root), []);
  });
});

test('reading leaves the time of the last access as it was', () => {
  const path = join(tempFolder(), 'source');
  writeFileSync(path, 'read');
  utimesSync(path, 1, 2);
  assert.equal(
    Buffer.from(headOf({ kind: 'file', path, offset: 0, size: 4, whole: true }, 4)).toString(),
    'read',
  );
  assert.equal(statSync(path).atimeMs, 1000);
});

test('an error in writing names the file', () => {
  const path = join(tempFolder(), 'file');
  writeFileSync(path, '');
  const fd = openSync(path, 'r');
  try {
    assert.throws(
      () => {
        writeFully(fd, Buffer.from('x'), 0, path);
      },
      refusal('IO', path),
    );
  } finally {
    closeSync(fd);
  }
});
