import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { imgconv } from './support/cli.js';
import { expected, fixture, projectRoot } from './support/fixtures.js';
import { imageOf, type Sample } from './support/images.js';
import {
  archiveOf,
  engineEntry,
  layFiles,
  layoutFiles,
  referrerOf,
  savedFiles,
  type LayoutFiles,
} from './support/layouts.js';
import { imageIdsOf, namesOf, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

let images: readonly [Sample, Sample, Sample];
let referrer: Sample;

before(async () => {
  images = [await imageOf('one'), await imageOf('two'), await imageOf('three')];
  referrer = referrerOf(images[1].root, 'of the second');
});

/** As `crane pull --format=oci` lays several. */
function layout(): string {
  return layFiles(join(tempFolder(), 'pulled'), layoutFiles(images.map((image) => ({ image }))));
}

/** As `docker save NAME ID` writes it. */
async function saved(): Promise<string> {
  const [one, two] = images;
  const files: LayoutFiles = {
    ...savedFiles({ 'demo/one:1': one, '@': two }),
    'manifest.json': Buffer.from(
      JSON.stringify([engineEntry('demo/one:1', one.root), { ...engineEntry('', two.root), RepoTags: null }]),
    ),
  };
  const path = join(tempFolder(), 'saved.tar');
  writeFileSync(path, await archiveOf(files));
  return path;
}

/** Runs the commands that the hints on stderr name, each once, as pasted into a shell. */
async function follow(stderr: string): Promise<number> {
  const commands = new Set(
    [...stderr.matchAll(/^ {2}name (?:it|them): (.*)$/gm)].map(([, line = '']) => line),
  );
  for (const command of commands) {
    const script = `set -eo pipefail; imgconv() { ${process.execPath} ${join(projectRoot, 'bin/imgconv.js')} "$@"; }; ${command}`;
    await new Promise<void>((done, fail) => {
      execFile('bash', ['-c', script], (error, _, said) => {
        if (error === null) done();
        else fail(new Error(`${command}: ${said}`, { cause: error }));
      });
    });
  }
  return commands.size;
}

describe('images without a name', { concurrency: 2 }, () => {
  const short = ({ root }: Sample) => root.digest.slice('sha256:'.length, 'sha256:'.length + 12);

  test('ls shows by what each can be chosen, and takes that', async () => {
    const path = layout();
    const { stdout } = await imgconv(['ls', path]);
    const shown = stdout
      .split('\n')
      .slice(0, 3)
      .map((line) => line.split(/ +/).slice(0, 2));
    assert.deepEqual(
      shown,
      images.map(({ root }, i) => [`@${i}`, root.digest]),
    );
    for (const [text = '', digest = ''] of shown)
      for (const ref of [text, digest, digest.slice(0, 'sha256:'.length + 12)]) {
        const again = await imgconv(['ls', path, ref]);
        assert.deepEqual([again.status, again.stdout.split(/ +/)[1]], [0, digest], ref);
      }
    const json = JSON.parse((await imgconv(['ls', path, '--json'])).stdout) as { choice?: string }[];
    assert.deepEqual(
      json.map(({ choice }) => choice),
      ['@0', '@1', '@2'],
    );
  });

  for (const [title, to, words] of [
    ['a number', 'reg', (path: string, to: string) => ['oci2reg', path, to, '@1', '-t', 'demo/two:2']],
    [
      'a digest',
      'dir',
      (path: string, to: string) => ['oci2dir', path, to, images[1].root.digest, '-t', 'demo/two:2'],
    ],
    [
      'the beginning of a digest',
      'oci',
      (path: string, to: string) => ['oci2oci', path, to, `sha256:${short(images[1])}`, '-t', 'demo/two:2'],
    ],
    [
      "skopeo's PATH:@N",
      'tar',
      (path: string, to: string) => ['copy', `oci:${path}:@1`, `docker-archive:${to}:demo/two:2`],
    ],
    [
      'PATH:DIGEST',
      'reg',
      (path: string, to: string) => [
        'copy',
        `oci:${path}:${images[1].root.digest}`,
        `reg:${to}`,
        '-t',
        'demo/two:2',
      ],
    ],
  ] as const) {
    test(`one is chosen by ${title} and named`, async () => {
      const target = join(tempFolder(), 'target');
      const { status, stderr } = await imgconv(words(layout(), target));
      assert.deepEqual([status, stderr], [0, '']);
      assert.deepEqual(await namesOf(place(to, target)), { 'demo/two:2': images[1].root.digest });
    });
  }

  test('in a path of the current folder, whose colons and @ are no credentials', async () => {
    const cwd = dirname(layout());
    copyFileSync(await saved(), join(cwd, 'saved@home.tar'));
    for (const [from, digest] of [
      ['oci:pulled:@1', images[1].root.digest],
      ['docker-archive:saved@home.tar:demo/one:1', images[0].root.digest],
    ] as const) {
      const target = join(tempFolder(), 'target');
      const { status, stderr } = await imgconv(['copy', from, `reg:${target}`, '-t', 'demo/x:1'], { cwd });
      assert.deepEqual([status, stderr], [0, '']);
      assert.deepEqual(await namesOf(place('reg', target)), { 'demo/x:1': digest });
    }
  });

  test('several are named by an images file', async () => {
    const [one, two, three] = images;
    const target = join(tempFolder(), 'target');
    const list = `@0 demo/one:1\n${two.root.digest} demo/two:2 # by digest\nsha256:${short(three)} demo/three:3\n`;
    const { status, stderr } = await imgconv(['oci2reg', layout(), target, '--images-file', '-'], {
      stdin: list,
    });
    assert.deepEqual([status, stderr], [0, '']);
    assert.deepEqual(await namesOf(place('reg', target)), {
      'demo/one:1': one.root.digest,
      'demo/three:3': three.root.digest,
      'demo/two:2': two.root.digest,
    });
  });

  test('what refers to one that is named goes with it', async () => {
    const entries = [...images, referrer].map((image) => ({ image }));
    const path = layFiles(join(tempFolder(), 'pulled'), layoutFiles(entries));
    const target = join(tempFolder(), 'target');
    const { status, stdout } = await imgconv(['oci2oci', path, target, '@1', '-t', 'demo/two:2']);
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`^written {3}demo/two@${referrer.root.digest} `, 'm'));
  });

  test('two digests with one beginning are refused, and so is what is not there', async () => {
    const path = layout();
    const unused = join(tempFolder(), 'unused');
    for (const [ref, message, hint] of [
      ['@3', /^imgconv: @3: no image with this number in the source/m, /imgconv ls shows/],
      [`sha256:${'0'.repeat(12)}`, /no image with this digest in the source/, /imgconv ls shows the digests/],
      [`sha256:${short(images[0]).slice(0, 8)}`, /no such image in the source/, /at least 12 digits/],
    ] as const) {
      const { status, stderr } = await imgconv(['oci2reg', path, unused, ref, '-t', 'demo/x:1']);
      assert.equal(status, 1);
      assert.match(stderr, message);
      assert.match(stderr, hint);
    }
    const { status, stderr } = await imgconv(['oci2reg', path, unused, '@0', '@1', '-t', 'demo/x:1']);
    assert.equal(status, 2);
    assert.match(
      stderr,
      /demo\/x:1 is the name of one image, and there are 2\n {2}choose one by its name, digest or number/,
    );
  });

  test('a number is the entry of manifest.json, whatever names it has', async () => {
    const target = join(tempFolder(), 'target');
    const { status } = await imgconv([
      'copy',
      `docker-archive:${fixture('buildah.tar')}:@0`,
      `reg:${target}`,
      '-t',
      'demo/b:1',
    ]);
    assert.equal(status, 0);
    assert.deepEqual(await imageIdsOf(place('reg', target)), {
      'demo/b:1': expected.imageIds['buildah.tar']?.['docker.io/demo/buildah:1'],
    });
  });

  for (const [title, make, from, to, names] of [
    [
      'one alone',
      () => {
        const path = join(tempFolder(), 'Saved App.tar');
        copyFileSync(fixture('docker20-untagged.tar'), path);
        return path;
      },
      'tar',
      'dir',
      1,
    ],
    ['several of a layout', layout, 'oci', 'reg', 3],
    ['several of a layout into an archive', layout, 'oci', 'ocitar', 3],
    ['one beside one with a name', saved, 'tar', 'reg', 2],
    ['one beside one with a name, into an archive', saved, 'tar', 'ocitar', 2],
  ] as const) {
    test(`the hint is a command that names what has no name: ${title}`, async () => {
      const target = join(tempFolder(), 'target');
      const { status, stderr } = await imgconv([`${from}2${to}`, await make(), target]);
      assert.equal(status, 1);
      assert.match(stderr, /the image has no name/);
      assert.equal(await follow(stderr), 1);
      assert.equal(Object.keys(await namesOf(place(to, target))).length, names);
    });
  }

  test('into a registry the hint is a command too', async () => {
    const { stderr } = await imgconv(['push', `oci:${layout()}`, 'docker://127.0.0.1:1/team', '@0']);
    assert.match(
      stderr,
      /name it: imgconv copy oci:\S+ docker:\/\/127.0.0.1:1\/team\/ @0 -t pulled:[0-9a-f]{12}$/m,
    );
  });
});
