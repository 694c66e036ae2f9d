import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { convert, ImgconvError, listImages, type Place } from '../src/index.js';
import { Descent } from '../src/bytes/below.js';
import { StagedDownloads } from '../src/storage/downloads.js';
import { digestOf } from '../src/bytes/hash.js';
import { Pool } from '../src/threads/pool.js';
import { PARTIAL_FOLDER, Staging } from '../src/storage/staging.js';
import { Transaction } from '../src/storage/transaction.js';
import { VerifiedBlob } from '../src/proof/verified-blob.js';
import { collectGarbage } from '../src/upkeep/gc.js';
import { verify } from '../src/upkeep/verify.js';
import { refusal } from './support/errors.js';
import { hex, imageOf, layStore, layTree, put, storedBlob, type Sample } from './support/images.js';
import { entriesOf, layFiles, layoutFiles } from './support/layouts.js';
import { newPlace, place } from './support/places.js';
import { start, within } from './support/processes.js';
import { contentsOf, stagingIn, stateOf } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';
import { runCampaign } from './torture/campaign.js';
import { surroundings } from './torture/surroundings.js';

/*
 * Places that others may write to, and what they can plant there. Nothing below the root that the user named is reached
 * through a symbolic link: not for reading, writing or deleting.
 */
const V2 = 'docker/registry/v2';
const REPOSITORY = `${V2}/repositories/demo/app`;
const ALL = { olderThan: 0, untagged: true } as const;

let image: Sample;
let other: Sample;
/** Of a blob of the image in a store: `blobs/sha256/8e`. */
let pair: string;

before(async () => {
  image = await imageOf('surrounded');
  other = await imageOf('other');
  pair = `${V2}/blobs/sha256/${hex(image.root.digest).slice(0, 2)}`;
});

/** A folder outside that has what a link in the place of `at` would lead to. */
function moveOut(root: string, at: string): string {
  const victim = join(tempFolder(), 'victim');
  mkdirSync(join(root, at), { recursive: true });
  renameSync(join(root, at), victim);
  put(join(victim, 'precious/file'), 'precious');
  put(join(victim, 'precious.txt'), 'precious');
  symlinkSync(victim, join(root, at));
  return victim;
}

function store(): string {
  return layStore(tempFolder(), { 'demo/app:1': image });
}

function layout(): string {
  return layFiles(join(tempFolder(), 'layout'), layoutFiles(entriesOf({ 'demo/app:1': image })));
}

async function unreadable(from: Place): Promise<string[]> {
  const errors: string[] = [];
  for await (const { error } of listImages(from)) if (error !== undefined) errors.push(error.message);
  return errors;
}

const FORMATS = { reg: store, oci: layout } as const;

describe('a symbolic link below the root of a place', () => {
  for (const [short, named] of [
    ['reg', `${REPOSITORY}/_uploads`],
    ['reg', `${REPOSITORY}/_manifests`],
    ['reg', `${REPOSITORY}/_layers`],
    ['reg', REPOSITORY],
    ['reg', `${V2}/repositories/demo`],
    ['reg', `${V2}/repositories`],
    ['reg', V2],
    ['reg', 'docker'],
    ['reg', 'PAIR'],
    ['reg', `${V2}/blobs/sha256`],
    ['reg', `${V2}/blobs`],
    ['oci', 'blobs/sha256'],
    ['oci', 'blobs/sha512'],
    ['oci', 'blobs'],
  ] as const)
    test(`${named} of ${short}: is followed by no command`, async () => {
      const at = named === 'PAIR' ? pair : named;
      const root = FORMATS[short]();
      const victim = moveOut(root, at);
      const before = stateOf(victim);
      const link = join(root, at);
      const there = place(short, root);
      const isLink = refusal('IO', `${link}: is a symbolic link`);

      await assert.rejects(collectGarbage(there, ALL), isLink);
      const { findings } = await verify(there);
      assert.ok(
        findings.some(({ where, what }) => where === link || what.startsWith(`${link}: is a symbolic link`)),
        JSON.stringify(findings),
      );
      await verify(there, { repair: [place(short, FORMATS[short]())] }).catch(isLink);
      const from = place('dir', layTree(tempFolder(), { 'demo/app:1': image, 'demo/app:2': other }));
      await convert(from, there).then(
        () => undefined,
        (error: unknown) => {
          assert.ok(isLink(error));
        },
      );
      assert.deepEqual(stateOf(victim), before);
    });

  test('is told by ls and convert, and the other images go on', async () => {
    const root = layStore(tempFolder(), { 'demo/app:1': image, 'demo/other:1': other });
    moveOut(root, REPOSITORY);
    const link = join(root, REPOSITORY);
    const [error = ''] = await unreadable(place('reg', root));
    assert.equal(error, `${link}: is a symbolic link; imgconv follows none below ${join(root, V2)}`);
    const { images } = await convert(place('reg', root), newPlace('oci'));
    assert.deepEqual(images.map(({ status }) => status).sort(), ['failed', 'written']);
  });

  test('keeps a repair inside: what is damaged is not moved out', async () => {
    const root = store();
    const damaged = storedBlob(root, image.blobs[0]?.digest ?? '');
    writeFileSync(damaged, 'damaged');
    const aside = join(root, V2, '.damaged');
    const victim = tempFolder();
    symlinkSync(victim, aside);
    await assert.rejects(
      verify(place('reg', root), { repair: [place('reg', store())] }),
      refusal('IO', aside, 'is a symbolic link'),
    );
    assert.deepEqual(readdirSync(victim), []);
    assert.equal(readFileSync(damaged, 'utf8'), 'damaged');
  });

  test('is not followed by a tree that is written to', async () => {
    const tree = layTree(tempFolder(), { 'demo/app:1': image });
    const victim = moveOut(tree, 'demo');
    const before = stateOf(victim);
    const from = place('dir', layTree(tempFolder(), { 'demo/app:1': other, 'demo/new:1': other }));
    const { images } = await convert(from, place('dir', tree));
    assert.deepEqual(
      images.map(({ error }) => error?.message.includes(`${join(tree, 'demo')}: is a symbolic link`)),
      [true, true],
    );
    assert.deepEqual(stateOf(victim), before);
  });

  test('is followed where it is the root, or above: the user named it', async () => {
    const root = store();
    const link = join(tempFolder(), 'link');
    symlinkSync(root, link);
    const target = join(tempFolder(), 'target');
    mkdirSync(target);
    const there = join(tempFolder(), 'there');
    symlinkSync(target, there);
    for (const short of ['reg', 'oci', 'dir']) {
      const to = place(short, join(there, short));
      for (const _ of ['new', 'again']) {
        const { images } = await convert(place('reg', link), to);
        assert.equal(images[0]?.error, undefined);
      }
      assert.deepEqual((await verify(to)).findings, []);
    }
    assert.equal((await collectGarbage(place('reg', link), ALL)).blobs.blobs, 0);
  });
});

describe('gc takes no image for deleted', () => {
  const current = `${REPOSITORY}/_manifests/tags/1/current`;
  for (const [what, at, plant] of [
    ['a link that leads nowhere', `${current}/link`, 'link'],
    ['a link that leads nowhere', current, 'link'],
    ['a link that leads nowhere', `${REPOSITORY}/_manifests/tags`, 'link'],
    ['a FIFO', `${REPOSITORY}/_manifests/tags`, 'fifo'],
    ['a FIFO', REPOSITORY, 'fifo'],
    ['a FIFO', `${V2}/repositories/demo`, 'fifo'],
  ] as const)
    test(`because ${what} is in the place of ${at}`, async () => {
      const root = store();
      rmSync(join(root, at), { recursive: true });
      if (plant === 'link') symlinkSync('/nowhere/at/all', join(root, at));
      else execFileSync('mkfifo', [join(root, at)]);
      const blobs = stateOf(join(root, V2, 'blobs'));
      await assert.rejects(collectGarbage(place('reg', root), ALL), refusal('IO', join(root, at)));
      assert.deepEqual(stateOf(join(root, V2, 'blobs')), blobs);
    });
});

describe('a folder that is replaced by a link while it is worked on', () => {
  /** A root with a folder that is opened, then moved away, with a link to a victim in its place. */
  function swapped(): { descent: Descent; root: string; victim: string } {
    const [root, victim] = [tempFolder(), tempFolder()];
    for (const folder of [join(root, 'a/b'), join(victim, 'b')]) {
      put(join(folder, 'file'), 'content');
      put(join(folder, 'deep/er/file'), 'content');
    }
    const descent = new Descent(root);
    descent.folder('a/b');
    renameSync(join(root, 'a'), join(root, 'was-a'));
    symlinkSync(victim, join(root, 'a'));
    return { descent, root, victim };
  }
  for (const [what, work] of Object.entries<(descent: Descent) => void>({
    'deleting a file': (descent) => {
      descent.unlink('a/b/file');
    },
    'deleting a folder': (descent) => {
      descent.remove('a/b/deep');
    },
    renaming: (descent) => {
      const staged = join(tempFolder(), 'staged');
      writeFileSync(staged, 'new');
      descent.rename(staged, 'a/b/file');
    },
  }))
    test(`${what} goes to the one that was opened`, () => {
      const { descent, root, victim } = swapped();
      const [before, opened] = [stateOf(victim), contentsOf(join(root, 'was-a'))];
      work(descent);
      descent[Symbol.dispose]();
      assert.deepEqual(stateOf(victim), before);
      assert.notDeepEqual(contentsOf(join(root, 'was-a')), opened);
      using anew = new Descent(root);
      assert.throws(() => anew.folder('a/b'), refusal('IO', `${join(root, 'a')}: is a symbolic link`));
    });

  test('of a staging folder, nothing is taken from elsewhere or deleted there while its tree is put in place', async (t) => {
    const [root, victim] = [tempFolder(), tempFolder()];
    for (const folder of ['a', 'b']) put(join(root, folder, 'there'), 'there');
    for (const name of ['file', 'two', 'folder/file']) put(join(victim, name), 'precious');
    const before = stateOf(victim);
    using staging = new Staging(root);
    const transaction = new Transaction(staging);
    transaction.write(join(root, 'a/one'), 'one');
    transaction.write(join(root, 'b/two'), 'two');
    // Of the calls the first finds `a` there, the second puts `a/one` in it.
    t.mock.method(Descent.prototype, 'rename').mock.mockImplementationOnce((from: string, at: string) => {
      renameSync(from, join(root, at));
      renameSync(staging.folder, join(root, 'was-staging'));
      mkdirSync(join(staging.folder, '0/a'), { recursive: true });
      symlinkSync(victim, join(staging.folder, '0/b'));
    }, 1);
    await transaction.commit();
    assert.deepEqual(stateOf(victim), before);
    assert.deepEqual(
      readdirSync(root).sort(),
      ['a', 'b', 'was-staging', staging.folder.slice(root.length + 1)].sort(),
    );
    for (const [folder, name] of [
      ['a', 'one'],
      ['b', 'two'],
    ] as const)
      assert.deepEqual(contentsOf(join(root, folder)), { there: 'there', [name]: name });
  });

  for (const sent of ['blob', 'evil'])
    test(`of downloads, nothing is deleted elsewhere when ${sent === 'blob' ? 'one is done with' : 'one is wrong'}`, async () => {
      const [root, victim] = [tempFolder(), tempFolder()];
      const [partial, digest] = [join(root, PARTIAL_FOLDER), digestOf(Buffer.from('blob'))];
      for (const end of ['', '.lock']) put(join(victim, `${digest.replace(':', '-')}${end}`), 'precious');
      const before = stateOf(victim);
      using staging = new Staging(root);
      await using pool = new Pool(1);
      using downloads = new StagedDownloads(staging, pool, true);
      const open = () => {
        if (readdirSync(root).length === 1) {
          renameSync(partial, join(root, 'was-partial'));
          symlinkSync(victim, partial);
        }
        const pour = (take: (chunk: Uint8Array) => void) => {
          take(Buffer.from(sent));
          return Promise.resolve();
        };
        return Promise.resolve({ offset: 0, pour });
      };
      const retry = { times: 0, delayMs: 0, signal: new AbortController().signal };
      await downloads.fetch({ digest, size: 4 }, { where: 'there', retry, open }).catch(() => undefined);
      downloads.releaseAll();
      assert.deepEqual(stateOf(victim), before);
      assert.equal(readdirSync(join(root, 'was-partial')).length, 2);
    });

  test('of the folder of an image that fails, nothing is deleted elsewhere', async (t) => {
    const [tree, victim] = [tempFolder(), tempFolder()];
    for (const number of ['0', '1', '2']) put(join(victim, number, 'file'), 'precious');
    const before = stateOf(victim);
    t.mock.method(VerifiedBlob.prototype, 'place', () => {
      const [name = ''] = readdirSync(tree).filter((one) => one.startsWith('.imgconv-'));
      if (!readdirSync(tree).includes('was-staging')) {
        renameSync(join(tree, name), join(tree, 'was-staging'));
        symlinkSync(victim, join(tree, name));
      }
      return Promise.reject(new ImgconvError('IO', 'a disk that fails'));
    });
    await convert(place('reg', store()), place('dir', tree)).catch(() => undefined);
    assert.ok(readdirSync(tree).includes('was-staging'));
    assert.deepEqual(stateOf(victim), before);
  });

  test('a folder is deleted with the links in it, and not what they lead to', () => {
    const [root, victim] = [tempFolder(), tempFolder()];
    put(join(victim, 'file'), 'precious');
    mkdirSync(join(root, 'a/b'), { recursive: true });
    symlinkSync(victim, join(root, 'a/b/link'));
    using descent = new Descent(root);
    descent.remove('a');
    assert.deepEqual(readdirSync(root), []);
    assert.deepEqual(contentsOf(victim), { file: 'precious' });
    rmSync(victim, { recursive: true });
  });
});

describe('what is no file among the work of dead processes', () => {
  /** Of a process of another boot, two days ago. */
  const DEAD = '0badf00d-1-1-abcdef';

  async function ran(...args: readonly string[]) {
    const { child, ended } = start(args);
    try {
      return await within(20, args.join(' '), ended);
    } finally {
      child.kill('SIGKILL');
    }
  }
  function fifo(path: string): void {
    put(path, '');
    rmSync(path);
    execFileSync('mkfifo', [path]);
    const then = new Date(Date.now() - 48 * 3_600_000);
    utimesSync(path, then, then);
    utimesSync(join(path, '..'), then, then);
  }
  for (const name of [
    `.imgconv-${DEAD}/0.displaced`,
    `.imgconv-${DEAD}/0`,
    `.imgconv-${DEAD}/claim`,
    `.imgconv-${DEAD}`,
    `.imgconv-lock-${DEAD}`,
  ])
    test(`${name} as a FIFO is cleared away, and not waited for`, async () => {
      const root = layout();
      fifo(join(root, name));
      const tree = layTree(tempFolder(), { 'demo/other:1': other });
      const { status, stderr } = await ran('dir2oci', tree, root);
      assert.equal(status, 0, stderr);
      assert.deepEqual(stagingIn(root), []);
    });

  for (const name of ['.imgconv-lock', '.imgconv-gc'])
    test(`${name} as a FIFO or a link is named, and not waited for`, async () => {
      const root = layout();
      fifo(join(root, name));
      const tree = layTree(tempFolder(), { 'demo/other:1': other });
      for (const what of ['not a regular file', 'a symbolic link']) {
        const { status, stderr } = await ran('dir2oci', tree, root);
        assert.equal(status, 1);
        assert.ok(stderr.includes(`${join(root, name)}: ${what}`), stderr);
        rmSync(join(root, name));
        symlinkSync('/dev/zero', join(root, name));
      }
    });
});

test(
  'parts of places that were replaced: nothing outside is touched, nothing hangs',
  { timeout: 120_000 },
  async () => {
    const failed: string[] = [];
    const { tally } = await runCampaign(surroundings, 'short', {
      from: 0,
      to: 300,
      onFailed: ({ number, why }) => {
        failed.push(`npm run test:hostile -- surroundings --seed short --only ${number}: ${why}`);
      },
    });
    assert.deepEqual(failed, []);
    assert.ok(tally.size > 10, [...tally.keys()].join());
  },
);
