import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { COMMANDS } from '../src/cli/commands.js';
import { imgconv } from './support/cli.js';
import { digestsOf, expected, fixture, syncTree } from './support/fixtures.js';
import { FakeRegistry } from './support/fake-registry.js';
import { imageOf } from './support/images.js';
import { run as shell } from './support/shells.js';
import { tempFolder } from './support/temp.js';

const NAMES = digestsOf('sync.tar');

function sha256(text: string | Buffer): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

async function run(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await imgconv(args, { encoding: 'latin1' });
  assert.equal(status, 0, stderr);
  return stdout;
}

async function failing(...args: readonly string[]): Promise<string> {
  const { status, stderr } = await imgconv(args);
  assert.notEqual(status, 0);
  return stderr;
}

let pool = '';
before(async () => {
  pool = tempFolder();
  await run('dir2reg', syncTree(), pool, '--quiet');
});

/** A copy of the sample as a place of this format. */
async function sample(kind: 'reg' | 'oci' | 'dir'): Promise<string> {
  const path = join(tempFolder(), 'x');
  await run('copy', `reg:${pool}`, `${kind}:${path}`, '--link', 'copy', '--quiet');
  return path;
}

describe('list-tags', () => {
  test('of a store, one a line, and as skopeo prints them', async () => {
    const tags = Object.keys(NAMES).flatMap((name) => (name.startsWith('demo/app:') ? name.slice(9) : []));
    assert.equal(
      await run('list-tags', pool, 'demo/app'),
      tags
        .sort()
        .map((tag) => `${tag}\n`)
        .join(''),
    );
    const document = JSON.parse(await run('list-tags', pool, 'demo/app', '--json')) as unknown;
    assert.deepEqual(document, { Repository: 'demo/app', Tags: tags });
  });

  test('of a registry; what is not there is not found', async () => {
    await using registry = (await FakeRegistry.start()).add({
      'team/app:1': await imageOf('a'),
      'team/app:2': await imageOf('b'),
    });
    assert.equal(await run('list-tags', `docker://${registry.host}/team/app`), '1\n2\n');
    assert.match(await failing('list-tags', `docker://${registry.host}/nope`), /no such repository/);
    assert.match(await failing('list-tags', pool, 'nope'), /nope: there is no such repository/);
    assert.match(await failing('list-tags', pool), /which repository\?/);
  });
});

describe('digest', () => {
  test('of an image alone, of several with their names, and for a platform', async () => {
    assert.equal(await run('digest', pool, 'demo/app:1.0'), `${NAMES['demo/app:1.0'] ?? ''}\n`);
    const member = expected.children['demo/multi:1']?.['linux/arm64/v8'];
    assert.equal(await run('digest', pool, 'demo/multi:1', '--platform', 'linux/arm64'), `${member ?? ''}\n`);
    const lines = await run('digest', pool, 'demo/base:1', 'demo/dup:1');
    assert.equal(
      lines,
      `${NAMES['demo/base:1'] ?? ''}  demo/base:1\n${NAMES['demo/dup:1'] ?? ''}  demo/dup:1\n`,
    );
    assert.match(
      await failing('digest', pool, 'demo/multi:1', '--platform', 'linux/s390x'),
      /only for linux\/amd64/,
    );
  });

  test('of a repository in a registry is that of latest', async () => {
    const image = await imageOf('a');
    await using registry = (await FakeRegistry.start()).add({ 'team/app:latest': image });
    assert.equal(await run('digest', `docker://${registry.host}/team/app`), `${image.root.digest}\n`);
  });
});

describe('inspect', () => {
  test('--raw gives the manifest byte for byte', async () => {
    for (const [name, digest] of Object.entries(NAMES))
      assert.equal(sha256(Buffer.from(await run('inspect', pool, name, '--raw'), 'latin1')), digest, name);
  });

  test('--config gives the config byte for byte, of an index that for the platform', async () => {
    const { config } = JSON.parse(await run('inspect', pool, 'demo/app:1.0', '--raw')) as {
      config: { digest: string };
    };
    const bytes = Buffer.from(await run('inspect', pool, 'demo/app:1.0', '--config'), 'latin1');
    assert.equal(sha256(bytes), config.digest);
    const arm = await run('inspect', pool, 'demo/multi:1', '--config', '--platform', 'linux/arm64');
    assert.equal((JSON.parse(arm) as { architecture: string }).architecture, 'arm64');
    assert.match(await failing('inspect', pool, '--raw'), /more than one image is there/);
  });
});

describe('tree', () => {
  test('shows platforms, layers and what they share, and what is attached', async () => {
    const text = Buffer.from(await run('tree', pool, 'demo/multi:1', 'demo/app:2.0'), 'latin1').toString();
    assert.match(text, /^demo\/multi:1 {2}index {2}sha256:7bfdc4ee59aa {2}8\.0 kB$/m);
    assert.match(text, /^├─ linux\/amd64 {2}image {2}sha256:821752347e1f/m);
    assert.match(text, /^└─ linux\/arm\/v7 {2}image/m);
    assert.match(text, /^│ {2}├─ sha256:1c36e60103fd {2}809 B gzip {2}in 5 images {2}COPY /m);
    assert.match(text, /attached: demo\/app:sha256-/);
  });

  test('--json has the layers that the manifest has', async () => {
    const [tree] = JSON.parse(await run('tree', pool, 'demo/app:1.0', '--json')) as {
      layers: { digest: string; size: number; createdBy: string }[];
    }[];
    const { layers } = JSON.parse(await run('inspect', pool, 'demo/app:1.0', '--raw')) as {
      layers: { digest: string; size: number }[];
    };
    assert.deepEqual(
      tree?.layers.map(({ digest, size }) => ({ digest, size })),
      layers.map(({ digest, size }) => ({ digest, size })),
    );
  });
});

describe('du', () => {
  test('sizes are those of the files', async () => {
    const store = await sample('reg');
    const { repositories, size, unneeded } = JSON.parse(await run('du', store, '--json')) as {
      repositories: { repository: string; size: number; unique: number }[];
      size: number;
      unneeded: number;
    };
    const blobs = await shell(
      `find ${store}/docker/registry/v2/blobs -name data -printf '%s\\n' | awk '{ all += $1 } END { print all }'`,
    );
    assert.equal(size, Number(blobs));
    assert.equal(unneeded, 0);
    assert.deepEqual(
      repositories.map((one) => one.size),
      repositories.map((one) => one.size).sort((a, b) => b - a),
    );
    // What a repository alone needs is what gc frees without it.
    const app = repositories.find(({ repository }) => repository === 'demo/app');
    for (const name of Object.keys(NAMES).filter((one) => one.startsWith('demo/app:')))
      await run('rm', store, name);
    const after = JSON.parse(await run('gc', store, '--untagged', '--older-than', '0', '--json')) as {
      blobs: { bytes: number };
    };
    assert.equal(after.blobs.bytes, app?.unique);
  });

  test('text names each repository, and what gc can free', async () => {
    const store = await sample('oci');
    await run('rm', store, 'demo/empty:1');
    const text = await run('du', store);
    assert.match(text, /^demo\/app +\d+ images +[\d.]+ kB {2}[\d.]+ (?:kB|B) only here$/m);
    assert.match(text, /no image needs another [\d.]+ kB, which imgconv gc can free$/m);
  });
});

describe('tag', () => {
  for (const kind of ['reg', 'oci', 'dir'] as const)
    test(`in ${kind}: a new name, a name that moves, and one that is to stay`, async () => {
      const store = await sample(kind);
      assert.match(await run('tag', store, 'demo/app:1.0', 'demo/app:new'), /^written +demo\/app:new /);
      assert.equal(await run('digest', store, 'demo/app:new'), `${NAMES['demo/app:1.0'] ?? ''}\n`);
      const moved = await run('tag', store, 'demo/app:2.0', 'new');
      assert.match(moved, new RegExp(`^updated +demo/app:new .* \\(was ${NAMES['demo/app:1.0'] ?? ''}\\)`));
      assert.match(
        await failing('tag', store, 'demo/app:1.0', 'new', '--no-overwrite'),
        /another image of this name/,
      );
      await run('verify', store);
    });

  test('in a registry', async () => {
    const image = await imageOf('a');
    await using registry = (await FakeRegistry.start()).add({ 'team/app:1': image });
    assert.match(
      await run('tag', `docker://${registry.host}/team/app:1`, 'stable'),
      /written +\S+\/team\/app:stable/,
    );
    assert.equal(await run('digest', `docker://${registry.host}/team/app:stable`), `${image.root.digest}\n`);
  });

  test('is refused in an archive, and without an image', async () => {
    assert.match(await failing('tag', fixture('docker20.tar'), 'demo/app:1.0', 'x'), /is one file/);
    assert.match(await failing('tag', pool, 'x'), /which image\?/);
  });
});

describe('rm', () => {
  for (const kind of ['reg', 'oci', 'dir'] as const)
    test(`from ${kind}: a tag alone, then an image by its digest`, async () => {
      const store = await sample(kind);
      await run('tag', store, 'demo/base:1', 'other', '--quiet');
      assert.match(await run('rm', store, 'demo/base:1', '--dry-run'), /^would remove demo\/base:1 sha256:/);
      assert.equal((await run('ls', store, '-q')).includes('demo/base:1\n'), true);
      assert.match(await run('rm', store, 'demo/base:1'), /^removed demo\/base:1 sha256:/);
      const left = (await run('ls', store, '-q')).split('\n');
      assert.equal(left.includes('demo/base:1'), false);
      assert.equal(left.includes('demo/base:other'), true);
      assert.match(await run('rm', store, NAMES['demo/base:1'] ?? ''), /and its names demo\/base:other/);
      assert.equal((await run('ls', store, '-q')).includes('demo/base'), false);
      await run('verify', store);
    });

  test('what another image needs stays', async () => {
    const store = await sample('reg');
    const member = expected.children['demo/multi:1']?.['linux/amd64'] ?? '';
    assert.match(await failing('rm', store, `demo/multi@${member}`), /demo\/multi:1 needs it/);
    await run('verify', store);
  });

  test('removes nothing unless all that is named is there, and nothing by a glob', async () => {
    const store = await sample('reg');
    assert.match(await failing('rm', store, 'demo/base:1', 'demo/nope:1'), /demo\/nope:1: no such image/);
    assert.match(await failing('rm', store, 'demo/*'), /could remove more than is meant/);
    assert.match(await failing('rm', store), /which images\?/);
    assert.match(await failing('rm', fixture('docker20.tar'), 'demo/app:1.0'), /tar2tar/);
    assert.equal((await run('ls', store, '-q')).includes('demo/base:1\n'), true);
  });

  test('an image of another host stays, and a name that two have is no name', async () => {
    const layout = join(tempFolder(), 'x');
    const names = ['quay.io/org/app:1', 'localhost/org/app:1', 'quay.io/org/app:2'];
    for (const name of names) await run('copy', pool, `oci:${layout}`, 'demo/app:1.0', '-t', name, '--quiet');
    assert.match(
      await failing('rm', layout, 'org/app:1'),
      /may be quay\.io\/org\/app:1 or localhost\/org\/app:1/,
    );
    assert.match(await failing('rm', layout, 'org/app:1', '--dry-run'), /give the name with its host/);
    await run('rm', layout, 'localhost/org/app:1');
    assert.equal(await run('ls', layout, '-q'), 'quay.io/org/app:1\nquay.io/org/app:2\n');
    await run('tag', layout, 'quay.io/org/app:1', 'localhost/org/app:3', '--quiet');
    const { stdout } = await imgconv(['rm', layout, `localhost/org/app@${NAMES['demo/app:1.0'] ?? ''}`]);
    assert.match(stdout, /^removed localhost\/org\/app@sha256:\w+ and its names localhost\/org\/app:3$/m);
    assert.equal(await run('ls', layout, '-q'), 'quay.io/org/app:1\nquay.io/org/app:2\n');
  });

  test('an image without a name goes by its number, others stay', async () => {
    const layout = await sample('oci');
    const file = join(layout, 'index.json');
    const index = JSON.parse(readFileSync(file, 'utf8')) as { manifests: Record<string, unknown>[] };
    const { annotations: _, ...nameless } = index.manifests[0] ?? {};
    writeFileSync(file, JSON.stringify({ ...index, manifests: [nameless, ...index.manifests.slice(1)] }));
    const before = await run('ls', layout, '-q');
    assert.match(before, /^@0$/m);
    await run('rm', layout, '@0');
    assert.deepEqual(
      (await run('ls', layout, '-q')).split('\n'),
      before.split('\n').filter((line) => line !== '@0'),
    );
  });

  test('a skopeo directory of one image is no place to remove from', async () => {
    const tree = await sample('dir');
    const one = join(tree, 'demo', 'app:1.0');
    for (const words of [[], ['@0'], ['--dry-run', '@0']])
      assert.match(await failing('rm', one, ...words), /is one image[^]*remove the directory: rm -r /);
    assert.ok(existsSync(join(one, 'manifest.json')));
  });

  test('from a registry, by tag and by digest; one that does not delete says how that is allowed', async () => {
    await using registry = (await FakeRegistry.start()).add({ 'team/app:1': await imageOf('a') });
    const place = `docker://${registry.host}`;
    registry.fail(/^DELETE/, (_, response) => response.writeHead(202).end(), 1);
    assert.match(await run('rm', `${place}/team/app:1`), /^removed \S+\/team\/app:1 sha256:/);
    assert.deepEqual(registry.asked(/^DELETE/), ['DELETE /v2/team/app/manifests/1']);
    registry.fail(/^DELETE/, (_, response) => response.writeHead(400).end(), 1);
    assert.match(await failing('rm', `${place}/team/app:1`), /does not delete tags[^]*by its digest/);
    registry.fail(/^DELETE/, (_, response) => response.writeHead(405).end(), 1);
    const digest = (await run('digest', `${place}/team/app:1`)).trim();
    assert.match(await failing('rm', `${place}/team/app@${digest}`), /REGISTRY_STORAGE_DELETE_ENABLED=true/);
  });
});

describe('login and logout', () => {
  const PAIR = `Basic ${Buffer.from('ann:secret').toString('base64')}`;
  const start = () =>
    FakeRegistry.start({
      guard: ({ headers }) => (headers.authorization === PAIR ? undefined : 'Basic realm="x"'),
    });

  /** A home of its own: no file of this machine's user is touched. */
  function home(): Record<string, string> {
    const folder = tempFolder();
    return {
      HOME: folder,
      XDG_RUNTIME_DIR: join(folder, 'run'),
      XDG_CONFIG_HOME: '',
      DOCKER_CONFIG: '',
      REGISTRY_AUTH_FILE: '',
    };
  }

  test('a login is checked, kept for its user alone, used, and forgotten', async () => {
    await using registry = await start();
    registry.add({ 'team/app:1': await imageOf('a') });
    const env = home();
    const { host } = registry;
    const wrong = await imgconv(['login', host, '-u', 'ann', '--password-stdin'], { env, stdin: 'wrong\n' });
    assert.equal(wrong.status, 1);
    assert.equal(wrong.stderr.includes('wrong\n'), false);
    const file = join(env['XDG_RUNTIME_DIR'] ?? '', 'containers/auth.json');
    assert.equal(existsSync(file), false);
    const right = await imgconv(['login', host, '-u', 'ann', '--password-stdin'], { env, stdin: 'secret\n' });
    assert.equal(right.status, 0, right.stderr);
    assert.match(right.stdout, /kept in \S+auth\.json, which is not encrypted/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const said = JSON.parse(readFileSync(file, 'utf8')) as { auths: Record<string, { auth: string }> };
    assert.equal(said.auths[host]?.auth, PAIR.slice(6));
    assert.equal((await imgconv(['ls', `docker://${host}/team/app`], { env })).status, 0);
    assert.equal((await imgconv(['logout', host], { env })).status, 0);
    assert.equal((await imgconv(['ls', `docker://${host}/team/app`], { env })).status, 1);
    assert.match((await imgconv(['logout', host], { env })).stderr, /no login is kept/);
  });

  test("Docker's file is used where there is one: other fields, other logins and a link stay", async () => {
    await using registry = await start();
    const env = home();
    const folder = join(env['HOME'] ?? '', '.docker');
    mkdirSync(folder);
    const real = join(env['HOME'] ?? '', 'real.json');
    const before = {
      auths: { 'other.example.com': { auth: 'eDp5' } },
      psFormat: 'table',
      HttpHeaders: { a: 'b' },
    };
    writeFileSync(real, JSON.stringify(before));
    symlinkSync(real, join(folder, 'config.json'));
    const { status, stderr } = await imgconv(['login', registry.host, '-u', 'ann', '-p', 'secret'], { env });
    assert.equal(status, 0, stderr);
    assert.match(stderr, /--password can be seen by other users/);
    assert.equal(lstatSync(join(folder, 'config.json')).isSymbolicLink(), true);
    const after = JSON.parse(readFileSync(real, 'utf8')) as typeof before;
    assert.deepEqual({ ...after, auths: { 'other.example.com': after.auths['other.example.com'] } }, before);
    assert.ok(Object.hasOwn(after.auths, registry.host));
  });

  test('a credential helper stores it, and forgets it', async () => {
    await using registry = await start();
    const env = home();
    const bin = tempFolder();
    const kept = join(bin, 'kept');
    writeFileSync(
      join(bin, 'docker-credential-sample'),
      `#!/bin/sh\necho "$1" >> ${kept}\ncat >> ${kept}\n[ "$1" != get ] || echo '{"Username":"ann","Secret":"x"}'\n`,
    );
    chmodSync(join(bin, 'docker-credential-sample'), 0o755);
    const file = join(tempFolder(), 'auth.json');
    writeFileSync(file, '{"credsStore":"sample"}');
    const words = ['login', registry.host, '-u', 'ann', '--password-stdin', '--authfile', file];
    const path = { ...env, PATH: `${bin}:${process.env['PATH'] ?? ''}` };
    const { status, stdout, stderr } = await imgconv(words, { env: path, stdin: 'secret' });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /kept in docker-credential-sample$/m);
    assert.match(
      readFileSync(kept, 'utf8'),
      /^store\n\{"ServerURL":".*","Username":"ann","Secret":"secret"\}/,
    );
    assert.equal(readFileSync(file, 'utf8'), '{"credsStore":"sample"}');
    assert.equal((await imgconv(['logout', registry.host, '--authfile', file], { env: path })).status, 0);
    assert.match(readFileSync(kept, 'utf8'), /erase\n/);
  });

  test('wrong usage says what is meant, and a file that is damaged is left alone', async () => {
    const env = home();
    const file = join(tempFolder(), 'auth.json');
    writeFileSync(file, '{"auths":');
    await using registry = await start();
    const { status, stderr } = await imgconv(
      ['login', registry.host, '-u', 'ann', '--password-stdin', '--authfile', file],
      { env, stdin: 'secret' },
    );
    assert.equal(status, 1);
    assert.match(stderr, /not JSON, so nothing is written into it/);
    assert.equal(readFileSync(file, 'utf8'), '{"auths":');
    for (const [words, what] of [
      [['login', 'a b'], 'not a host'],
      [['login', 'localhost:1'], 'no terminal to ask for a password'],
      [['login', 'localhost:1', '--password-stdin'], '--username is missing'],
      [['logout'], 'of which registry?'],
    ] as const)
      assert.ok((await imgconv(words, { env })).stderr.includes(what), what);
  });
});

describe('completion', () => {
  test('bash completes commands, options, choices and prefixes', async () => {
    const complete = (line: string) =>
      shell(
        `source <(node ${fixture('../bin/imgconv.js')} completion bash); compopt() { :; }; ` +
          `COMP_WORDS=(${line}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _imgconv; printf '%s\\n' "\${COMPREPLY[@]}"`,
      );
    assert.match(await complete('imgconv dir2r'), /^dir2reg$/m);
    assert.match(await complete('imgconv copy --compression-l'), /^--compression-level$/m);
    assert.equal(await complete('imgconv copy --compression g'), 'gzip\n');
    assert.match(await complete('imgconv ls dock'), /^docker-archive:$/m);
  });

  test('every command and visible option is in each script', async () => {
    for (const name of ['bash', 'zsh', 'fish']) {
      const text = await run('completion', name);
      for (const command of COMMANDS) assert.ok(text.includes(command.name), `${name}: ${command.name}`);
      assert.ok(text.includes('images-file'));
    }
    assert.match(await failing('completion', 'tcsh'), /not one of bash, zsh, fish/);
  });
});

describe('version and ls', () => {
  test('version is --version, and says what Node it is with --json', async () => {
    assert.equal(await run('version'), await run('--version'));
    assert.equal(
      (JSON.parse(await run('version', '--json')) as { node: string }).node,
      process.versions.node,
    );
  });

  test('ls: names alone, sorted, and cut to a terminal', async () => {
    const names = (await run('ls', pool, '-q')).trimEnd().split('\n');
    assert.deepEqual(names, Object.keys(NAMES).sort());
    const sizes = JSON.parse(await run('ls', pool, '--json', '--sort', 'size')) as { size: number }[];
    assert.deepEqual(
      sizes.map(({ size }) => size),
      sizes.map(({ size }) => size).sort((a, b) => b - a),
    );
    const terminal = await shell(
      `script -qec 'stty cols 80; node ${fixture('../bin/imgconv.js')} ls ${pool}' /dev/null | tr -d '\\r'`,
    );
    assert.match(terminal, /^NAME +DIGEST +KIND +SIZE +PLATFORMS$/m);
    for (const line of terminal.split('\n')) assert.ok(line.length <= 80, line);
    assert.equal(
      (await run('ls', pool)).includes(
        'sha256:8039ed92fc140fb6dc0e4bd6706e8c2ba53aff287d906d00edb80f46c25f6378',
      ),
      true,
    );
  });
});
