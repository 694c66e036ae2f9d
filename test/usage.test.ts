import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { EXIT, errorText } from '../src/cli/exit.js';
import { nearest } from '../src/model/nearest.js';
import { ImgconvError, type ErrorCode } from '../src/index.js';
import { imgconv } from './support/cli.js';
import { fixture, projectRoot, syncTree, unpacked } from './support/fixtures.js';
import { refusals, type Refused } from './support/refusals.js';
import { tempFolder } from './support/temp.js';

/** Each is refused with exit status 2 and two lines: what is wrong, and what was probably meant. */
const CASES: Readonly<Record<string, readonly Refused[]>> = {
  'a word that is not known': [
    ['dir2rge SRC DST', 'dir2rge: no such command', 'did you mean dir2reg?'],
    ['dir2 SRC DST', 'dir2: no such command', 'did you mean dir2'],
    ['lss SRC', 'lss: no such command', 'did you mean ls?'],
    ['frobnicate SRC DST', 'frobnicate: no such command', 'imgconv --help lists commands'],
    ['dir2reg SRC DST --compresion gzip', '--compresion', 'did you mean --compression?'],
    ['dir2reg SRC DST --compress gzip', '--compress', 'did you mean --compression?'],
    ['dir2reg SRC DST --compression-lvl=3', '--compression-lvl', 'did you mean --compression-level?'],
    ['dir2reg SRC DST --dryrun', '--dryrun', 'did you mean --dry-run?'],
    ['dir2reg SRC DST --dryRun', '--dryRun', 'did you mean --dry-run?'],
    ['dir2reg SRC DST --paltform linux/amd64', '--paltform', 'did you mean --platform?'],
    ['dir2reg SRC DST --format oci', '--format: imgconv keeps manifests as they are', 'lists options'],
    ['dir2reg SRC DST --multi-arch index-only', '--multi-arch index-only', 'use --all for all platforms'],
    [
      'dir2reg SRC DST --all --override-arch arm64',
      'two different things of the platforms',
      'leave one of them out',
    ],
    ['dir2reg SRC DST --no-extra', '--no-extra', 'did you mean --extras?'],
    ['dir2reg SRC DST --no-tag', '--no-tag', 'did you mean --tag?'],
    ['ls SRC --jsn', '--jsn: ls has no such option', 'did you mean --json?'],
    ['ls SRC --link hard', '--link: ls has no such option', 'imgconv ls --help'],
    ['inspect SRC REF --quiet', '--quiet: inspect has no such option', 'imgconv inspect --help'],
    ['dir2reg SRC DST -z', '-z: dir2reg has no such option', 'imgconv dir2reg --help'],
    ['dir2reg SRC DST -qz', '-z: dir2reg has no such option', 'imgconv dir2reg --help'],
    ['ls -x', '-x: ls has no such option', 'imgconv ls --help'],
    ['ls SRC -f.o=3', '-f.o: ls has no such option', 'imgconv ls --help'],
    ['dir2reg SRC DST --__proto__ x', '--__proto__', 'imgconv dir2reg --help'],
    ['dir2reg SRC DST --constructor', '--constructor', 'imgconv dir2reg --help'],
    ['--nonsense', '--nonsense: imgconv has no such option', 'imgconv --help'],
  ],
  'a value or an operand that is wrong': [
    [
      'dir2reg SRC DST --compression gzp',
      '--compression gzp: not one of',
      'did you mean --compression gzip?',
    ],
    ['dir2reg SRC DST --link soft', '--link soft: not one of auto, hard, reflink, copy', '--help'],
    ['dir2reg SRC DST --tag', '--tag: a value is missing', '--help'],
    ['dir2reg SRC DST -t --quiet', 'a value is missing', '--help'],
    ['dir2reg SRC DST --compression gzip --compression zstd', '--compression: given 2 times', 'once'],
    ['dir2reg SRC DST -t a:1 -t b:1', '--tag: given 2 times', 'once'],
    ['dir2reg SRC DST --jobs 2 -j 3', '--jobs: given 2 times', 'once'],
    ['verify SRC --jobs', '--jobs: a value is missing', '--help'],
    ['gc STORE --older-than', '--older-than: a value is missing', '--help'],
    ['gc STORE b', 'b: one operand too many: gc <STORE>', '--help'],
    ['dir2reg SRC', 'operands are missing: <TREE> <STORE> [REF..]', '--help'],
    ['dir2reg SRC DST demo/base:1 -t UPPER:1', '"UPPER:1" is not an image reference: a rep', 'team/app:1'],
    ['dir2tar SRC DST demo/base:1 -t a:b:c', 'the new name: "a:b:c" is not', 'team/app:1'],
    ['copy dir:SRC:demo/base:1 oci:DST:UPPER/x:1:2', 'the new name: "UPPER/x:1:2" is not', 'team/app:1'],
    [
      'copy SRC docker://localhost:1/x a:1 b:1',
      'the name of one image',
      'did you mean docker://localhost:1/x/,',
    ],
    ['copy tar:TAR reg:DST', 'a prefix and a path are expected', 'did you mean docker-archive:/'],
    ['copy docker-archve:TAR reg:DST', 'a prefix and a path', 'did you mean docker-archive:/'],
    ['copy dir:SRC https://localhost:1/x', 'a prefix and a path', 'did you mean docker://localhost:1/x?'],
    ['copy dir:SRC nope:x', 'nope:x: a prefix and a path are expected', 'prefixes: reg: oci:'],
    ['gc SRC', ': gc does not work on dir:', '(reg:)'],
    ['gc docker://localhost:1', 'localhost:1: gc does not work on docker://', '(oci:)'],
    ['gc STORE --older-than 5', '--older-than 5: not a time', 'such as 90m, 24h or 7d; or 0'],
    [
      'verify TAR --repair STORE',
      'docker-archive: cannot be repaired',
      'imgconv copy FROM docker-archive:NEW',
    ],
    [
      'verify docker://localhost:1/a:1 --repair STORE',
      '--repair: localhost:1: docker:// cannot be repaired',
      'imgconv push FROM docker://HOST',
    ],
    ['dir2reg SRC DST --add-prefix A', '--add-prefix A: no repository begins so', 'lower case'],
    ['dir2reg SRC DST --add-prefix mirror:v1', '--add-prefix mirror:v1: no repository begins so', 'slash'],
    ['dir2tar SRC DST --add-prefix ../x', '--add-prefix ../x: no repository begins so', 'mirror/site-b'],
    ['dir2reg SRC DST --strip-prefix /demo', '--strip-prefix /demo: no repository begins so', 'slash'],
    ['dir2reg SRC DST --strip-prefix Demo/', '--strip-prefix Demo/: no repository begins so', 'slash'],
    ['dir2reg SRC DST --rename demo=A', '--rename demo=A: not FROM=TO', 'demo=team/demo'],
    ['dir2reg SRC DST --rename demo:v1=a/b', '--rename demo:v1=a/b: not FROM=TO', '--tag'],
    ['sync SRC DST -s dir -d reg --append-suffix +x', '--append-suffix +x: no tag ends so', 'letters'],
    ['help frobnicate', 'frobnicate: no such command or topic', 'imgconv help lists'],
    ['dir2reg SRC ', 'STORE is empty', 'variable of the shell'],
    ['dir2reg  DST', 'TREE is empty', 'variable of the shell'],
    ['dir2reg SRC DST demo/base:1 ', 'REF is empty', 'variable of the shell'],
    ['images ', 'PATH is empty', 'variable of the shell'],
    ['inspect SRC demo/base:1 demo/app:1.0', 'one operand too many: inspect <SRC> [REF]', '--help'],
  ],
  'options that do not apply to this pair': [
    ['dir2tar SRC DST --link hard', '--link hard: docker-archive: is one file', 'leave it out'],
    ['dir2ocitar SRC DST --link copy', '--link copy: oci-archive: is one file', 'reg: oci: dir:'],
    ['copy dir:SRC docker-archive:DST --link auto', '--link auto: docker-archive:', 'leave it out'],
    ['tar2reg TAR DST --link hard', '--link hard: blobs in docker-archive:', 'did you mean --link copy?'],
    ['copy docker-archive:TAR oci:DST --link reflink', '--link reflink: blobs in', '--link copy'],
    ['dir2dir SRC DST --archive-compression gzip', 'dir: is a folder', 'did you mean --compression gzip'],
    ['dir2reg SRC DST --archive-compression zstd', 'reg: is a folder', 'did you mean --compression zstd'],
    ['copy dir:SRC oci:DST --archive-compression none', 'oci: is a folder', '--compression none'],
    [
      'dir2reg SRC DST --layers uncompressed',
      '--layers uncompressed: only for',
      '--compression none --recompress',
    ],
    ['dir2ocitar SRC DST --layers keep', '--layers keep: only for docker-archive:', '--compression keep'],
    ['dir2tar SRC DST --missing sparse', 'docker-archive: cannot hold', 'did you mean --missing prune?'],
    [
      'copy dir:SRC docker://localhost:1 --link copy',
      '--link copy: docker:// is no folder',
      'reg: oci: dir:',
    ],
    [
      'copy docker://localhost:1/a:1 reg:DST --link hard',
      'docker:// are no files',
      'did you mean --link copy?',
    ],
    [
      'copy dir:SRC docker://localhost:1 --archive-compression gzip',
      'docker:// is a registry',
      '--compression',
    ],
    ['copy dir:SRC reg:DST --src-creds user:secret', '--src-creds: dir: is no registry', 'leave it out'],
    ['copy dir:SRC reg:DST --dest-tls-verify=false', '--dest-tls-verify: reg: is no', 'it is for docker://'],
    ['copy dir:SRC reg:DST --authfile x', '--authfile: neither dir: nor reg: is a registry', 'docker://'],
    ['copy dir:SRC dir:DST --retry-times 3', '--retry-times: dir: is no registry', 'docker://'],
    ['copy dir:SRC docker://localhost:1 --src-cert-dir x', '--src-cert-dir: dir: is no', 'docker://'],
    [
      'push SRC docker://localhost:1 --registry-mirror a=http://b',
      '--registry-mirror: dir: is no',
      'docker://',
    ],
    ['sync SRC DST --src dir --dest reg --src-tls-verify=false', '--src-tls-verify: dir: is no', 'docker://'],
    ['ls SRC --src-creds user:secret', '--src-creds: dir: is no registry', 'docker://'],
    ['inspect SRC demo/base:1 --authfile x', '--authfile: dir: is no registry', 'docker://'],
    ['dir2reg dir:SRC DST', ': prefixes are for imgconv copy', 'imgconv copy dir:'],
    ['dir2reg SRC docker://localhost:1', ': prefixes are for', ' docker://localhost:1'],
    ['tar2reg TAR oci:DST demo/*:1', 'oci:', "'demo/*:1'"],
    ['sync dir:SRC DST --src dir --dest reg', ': prefixes are for imgconv copy', 'imgconv copy dir:'],
    ['reg2dir STORE DST --missing sparse', 'dir: cannot hold', 'sparse is for reg: oci: oci-archive:'],
  ],
  'places and lists of save, push and sync': [
    ['save STORE', ': which images?', '--images-file'],
    [
      'save ./no-store ubuntu',
      'save … ubuntu: the store comes last',
      'did you mean imgconv save ubuntu ./no-store?',
    ],
    ['save STORE ubuntu quay.io/x/y:1', 'the store comes last, and', 'imgconv save ubuntu quay.io/x/y:1'],
    ['save oci:DST ubuntu', 'save … ubuntu: the store comes last', 'did you mean imgconv save ubuntu oci:'],
    ['push docker://localhost:1 STORE', ': not a registry', 'did you mean imgconv push /'],
    ['push SRC reg:DST', ': not a registry', 'imgconv copy'],
    ['push SRC DST', ': not a registry', 'docker://HOST'],
    ['push SRC docker://localhost:1/a:1', 'a beginning of repositories', 'without a tag'],
    ['sync SRC DST --dest reg', '--src: say what it is', 'yaml'],
    ['sync SRC DST', '--src and --dest: say what they are', '; --dest: one of reg, '],
    ['sync SRC DST --src nope --dest no', '--src nope and --dest no: say what they are', '--src: one of'],
    ['sync SRC DST --src nope --dest reg', '--src nope: say what it is', 'list'],
    ['sync SRC DST --src dir --dest yaml', '--dest yaml: say what it is', 'one of'],
    ['sync SRC DST --src dir --dest reg --all --platform linux/amd64', '--all and --platform', 'leave one'],
  ],
  'options that contradict each other': [
    ['dir2reg SRC DST --all --platform linux/amd64', '--all and --platform linux/amd64', 'leave one'],
    ['dir2reg SRC DST --dry-run --quiet', '--dry-run and --quiet', '--json'],
    ['tar2reg SRC DST --dry-run --expect known', '--dry-run and --expect', 'leave out --dry-run'],
    ['dir2tar SRC DST --layers uncompressed --compression gzip', '--layers uncompressed and', 'leave one'],
    ['dir2tar SRC DST --layers keep --compression zstd', '--layers keep and --compression zstd', 'leave one'],
    ['dir2reg SRC DST --dry-run=yes', '--dry-run=yes: neither true nor false', '--dry-run'],
    ['reg2tar STORE DST demo/base:1 --untagged', '--untagged is for all images', 'NAME@sha256:…'],
    [
      'copy reg:STORE:demo/base:1 oci:DST --untagged',
      '--untagged is for all images',
      'leave one of them out',
    ],
    [
      'copy docker://localhost:1 reg:DST --untagged',
      '--untagged: docker:// lists tags only',
      'NAME@sha256:…',
    ],
    ['dir2reg SRC DST --recompress', '--recompress: say into what', '--compression gzip --recompress'],
    ['dir2reg SRC DST --recompress --compression keep', '--recompress: say into what', '--compression gzip'],
    [
      'dir2reg SRC DST --compression-level 3',
      'with --compression keep nothing',
      'did you mean --compression gzip',
    ],
    ['dir2reg SRC DST --compression none --compression-level 3', 'with --compression none', 'leave it out'],
    ['tar2tar TAR DST --compression-level 3', 'with --compression keep nothing', '--compression gzip'],
    [
      'dir2tar SRC DST --layers uncompressed --compression-level 3',
      'with --compression none',
      '--compression',
    ],
    ['dir2reg SRC DST demo/base:1 -t a:1 --rename demo=x', '--tag a:1 and --rename', 'leave one'],
    ['dir2reg SRC DST demo/base:1 -t a:1 --add-prefix x', '--tag a:1 and --add-prefix', 'leave one'],
    ['copy dir:SRC oci:DST:b:2 demo/base:1 -t a:1', '--tag a:1 and', 'two names for one image'],
    ['tar2reg - DST --images-file -', '-: standard input can be read once', '--images-file'],
    ['dir2reg SRC DST --images-file - --images-file -', '-: standard input can be read once', 'file'],
  ],
};

const paths = {
  SRC: syncTree(),
  STORE: unpacked('registry.tar'),
  TAR: fixture('docker20.tar'),
  DST: join(tempFolder(), 'target'),
};
for (const [title, cases] of Object.entries(CASES))
  refusals(`${title} is refused, and the nearest that is right is named`, paths, cases);

describe('the nearest word', () => {
  const known = ['compression', 'compression-level', 'recompress', 'platform', 'jobs', 'json', 'tag'];
  for (const [word, meant] of [
    ['compression', 'compression'],
    ['compress', 'compression'],
    ['COMPRESSION', 'compression'],
    ['platfrom', 'platform'],
    ['platforms', 'platform'],
    ['job', 'jobs'],
    ['jsno', 'json'],
    ['tga', 'tag'],
    ['xyz', undefined],
    ['', undefined],
    ['somethingelseentirely', undefined],
    ['a'.repeat(100_000), undefined],
  ] as const)
    test(`${word.slice(0, 30)} is ${meant ?? 'none'}`, () => {
      assert.equal(nearest(word, known), meant);
    });
});

describe('an error is told in two lines', () => {
  for (const code of Object.keys(EXIT) as ErrorCode[])
    test(`${code}, also when it does not say itself what to do`, () => {
      assert.match(errorText(new ImgconvError(code, 'what')), /^what\n {2}\S[^\n]+\n$/);
      assert.equal(errorText(new ImgconvError(code, 'what', { hint: 'do this' })), 'what\n  do this\n');
    });

  test('whatever line breaks, control characters and lengths a hostile source puts into it', () => {
    const text = errorText(new ImgconvError('IO', `a\nb\r\u001b[2J\u2028${'x'.repeat(1e6)}`));
    assert.match(text, /^a\\x0ab\\x0d\\x1b\[2J\\x2028x+…\n {2}\S[^\n]+\n$/);
    assert.ok(text.length < 5000);
  });

  test('with --debug followed by all that caused it', () => {
    const first = new Error('the first');
    const error = new ImgconvError('IO', 'what', { cause: new Error('the second', { cause: first }) });
    const text = errorText(error, true);
    for (const words of ['IO: ', 'caused by: Error: the second', 'caused by: Error: the first', '\n    at '])
      assert.ok(text.includes(words), `no ${words} in ${text}`);
  });

  test('with --debug also when causes go round in a circle', () => {
    const cause = new Error('round');
    cause.cause = cause;
    assert.ok(errorText(new ImgconvError('IO', 'what', { cause }), true).includes('round'));
  });

  test('with --debug for each image that fails', async () => {
    const args = ['dir2reg', syncTree(), join(tempFolder(), 'store'), 'demo/none:1', '--debug'];
    const { status, stderr } = await imgconv(args);
    assert.equal(status, 1);
    assert.match(stderr, /^imgconv: demo\/none:1: .*\n {2}\S.*\nNOT_FOUND: .*\n\s+at /);
  });

  for (const args of [
    ['ls', syncTree(), '--json'],
    ['inspect', syncTree(), 'demo/base:1'],
    ['dir2tar', syncTree(), '-'],
  ])
    test(`when stdout is a full disk: ${args[0] ?? ''}`, { skip: !existsSync('/dev/full') }, () => {
      const full = openSync('/dev/full', 'w');
      const command = [join(projectRoot, 'bin/imgconv.js'), ...args];
      const { status, stderr } = spawnSync(process.execPath, command, { stdio: ['ignore', full, 'pipe'] });
      closeSync(full);
      assert.equal(status, 1);
      assert.match(
        stderr.toString(),
        /^(?:.*\n)*?imgconv: (?:demo\S+(?: and \d+ more images)?: )?stdout: no space left .*\n {2}\S.*\n/,
      );
      assert.doesNotMatch(stderr.toString(), /\n\s+at /);
    });

  test('when a list of images is no text', async () => {
    const list = join(tempFolder(), 'list');
    writeFileSync(list, Buffer.from([0xff, 0xfe, 0x00, 0x0a, 0x1b, 0x5b, 0x41, 0x0a]));
    const args = ['dir2reg', syncTree(), join(tempFolder(), 'store'), '--images-file', list];
    const { status, stdout, stderr } = await imgconv(args);
    assert.equal(status, 1);
    assert.doesNotMatch(stdout + stderr, /[\u0000-\u0009\u000b-\u001f]|\n\s+at /);
  });
});
