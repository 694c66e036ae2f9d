import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { CERTIFICATE, KEY } from './support/certificate.js';
import { imgconv, imgconvEach } from './support/cli.js';
import { errorOf, FakeRegistry, reply } from './support/fake-registry.js';
import { fixture, projectRoot, syncTree } from './support/fixtures.js';
import { imageOf } from './support/images.js';
import { tempFolder } from './support/temp.js';

const folder = tempFolder();
/** A user who owns nothing here. */
const OTHER = 65_534;
const NOPE = join(folder, 'nope');

test('an unknown letter is named, also among known ones', async () => {
  for (const [words, said] of [
    [['copy', '-v'], 'imgconv: -v: copy has no such option\n  imgconv copy --help lists the options\n'],
    [['ls', '-x', NOPE], 'imgconv: -x: ls has no such option\n  imgconv ls --help lists the options\n'],
    [['-x'], 'imgconv: -x: imgconv has no such option\n  imgconv --help lists the options\n'],
    [['copy', '-zj', '1'], 'imgconv: -z: copy has no such option\n  imgconv copy --help lists the options\n'],
  ] as const)
    assert.deepEqual(await imgconv(words), { status: 2, stdout: '', stderr: said });
});

const noXz = spawnSync('xz', ['--version'], { stdio: 'ignore' }).error !== undefined && 'no xz here';

describe('--json of a command that fails as a whole is an error on stdout', () => {
  test('and the text on stderr is as without it', async () => {
    const commands = [
      ['ls', NOPE],
      ['inspect', NOPE],
      ['verify', NOPE],
      ['gc', NOPE],
      ['sync'],
      ['save', NOPE],
      ['push', NOPE, 'docker://127.0.0.1:1'],
      ['copy', `dir:${NOPE}`, `reg:${join(folder, 'x')}`],
      ['dir2reg', NOPE, join(folder, 'x')],
      ['ls', '--bad', NOPE],
      ['ls', '-x', NOPE],
      ['nonsense'],
    ];
    const asked = commands.map((words) => [...words, '--json']);
    const [plain, json] = [await imgconvEach(commands), await imgconvEach(asked)];
    for (const [i, { status, stdout, stderr }] of json.entries()) {
      const { error } = JSON.parse(stdout) as { error: Record<'code' | 'message' | 'hint', string> };
      assert.equal(stderr, `imgconv: ${error.message}\n  ${error.hint}\n`);
      assert.match(error.code, /^(?:NOT_FOUND|USAGE)$/);
      assert.deepEqual([status, stderr], [plain[i]?.status, plain[i]?.stderr], commands[i]?.join(' '));
      assert.equal(plain[i]?.stdout, '');
    }
  });

  test('unless the archive goes there', async () => {
    const { status, stdout, stderr } = await imgconv(['dir2tar', NOPE, '-', '--json']);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /"code": "NOT_FOUND"/);
  });
});

test('what all images fail with is said once, with their number, and is with each in JSON', async () => {
  const words = ['dir2reg', syncTree(), join(folder, 'none'), '--platform', 'linux/s390x'];
  const { status, stderr } = await imgconv(words);
  assert.equal(status, 1);
  assert.equal(stderr.split('imgconv ls shows').length, 2, stderr);
});

/** What `ls` says of a place, in its two lines. */
async function said(place: string, ...options: readonly string[]): Promise<string> {
  const env = { HOME: folder, XDG_RUNTIME_DIR: folder };
  const { status, stderr } = await imgconv(['ls', place, '--retry-delay', '1ms', ...options], {
    env,
  });
  assert.equal(status, 1, stderr);
  return stderr;
}

describe('a registry that cannot be spoken to', () => {
  test('in plain HTTP is said at once, with the option of the side, and once for all images', async () => {
    await using registry = await FakeRegistry.start();
    const { host } = registry;
    const plain = (side: string) =>
      `${host} speaks plain HTTP, not HTTPS\n  add --${side}-tls-verify=false\n`;
    assert.equal(await said(`docker://${host}/a:1`, '--src-tls-verify=true'), `imgconv: ${plain('src')}`);
    const refs = [`${host}/a:1`, `${host}/b:1`, `${host}/c:1`];
    const store = join(folder, 'store');
    const saved = await imgconv(['save', ...refs, store, '--src-tls-verify=true', '--retry-delay', '60s']);
    assert.deepEqual(
      [saved.status, saved.stderr],
      [1, `imgconv: ${host}/a:1 and 2 more images: ${plain('src')}`],
    );
    assert.equal(saved.stdout.match(/^failed /gm)?.length, 3);
    for (const words of [
      ['push', `dir:${syncTree()}`, `docker://${host}/x`],
      ['copy', `dir:${syncTree()}`, `docker://${host}/x/`],
    ]) {
      const { stderr } = await imgconv([...words, '--dest-tls-verify=true', '--retry-delay', '60s']);
      assert.ok(stderr.endsWith(plain('dest')), stderr);
      assert.equal(stderr.split('\n').length, 3, stderr);
    }
    const json = await imgconv(['save', ...refs, store, '--json', '--src-tls-verify=true']);
    const { images } = JSON.parse(json.stdout) as { images: { error: { message: string } }[] };
    assert.equal(images.filter(({ error }) => error.message.includes('speaks plain HTTP')).length, 3);
  });

  test('whose certificate is refused is said with the certificate', async () => {
    const server = createServer({ key: KEY, cert: CERTIFICATE }, (_, response) => response.end('{}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      assert.equal(
        await said(`docker://127.0.0.1:${port}/a:1`),
        `imgconv: 127.0.0.1:${port}: its certificate (CN=test) is signed by itself\n  if that is right, give it as a CA: ` +
          `--src-cert-dir FOLDER with it as ca.crt, or /etc/containers/certs.d/127.0.0.1:${port}/ca.crt; ` +
          '--src-tls-verify=false takes any certificate\n',
      );
      const ca = join(folder, 'own-ca.crt');
      writeFileSync(ca, CERTIFICATE);
      const env = { SSL_CERT_FILE: ca, HOME: folder };
      const { stderr } = await imgconv(['ls', `docker://localhost:${port}/a:1`], { env });
      assert.match(
        stderr,
        /its certificate \(CN=test\) is for 127\.0\.0\.1, not for localhost\n {2}use a name/,
      );
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('by its name, or at its port, has an own hint', async () => {
    assert.match(
      await said('docker://no-such-host.invalid/a:1'),
      /^imgconv: no-such-host\.invalid: the name does not resolve.*\n {2}check /,
    );
    assert.match(
      await said('docker://127.0.0.1:1/a:1'),
      /^imgconv: 127\.0\.0\.1:1: connection refused\n {2}check that the registry runs/m,
    );
  });
});

describe('a registry that refuses', () => {
  const authfile = (name: string, content: string) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };

  test('credentials: which were tried, from where, and its own words', async () => {
    await using registry = await FakeRegistry.start({ guard: () => 'Basic realm="x"' });
    const { host } = registry;
    const place = `docker://${host}/a:1`;
    const refused = `imgconv: ${host}: status 401: UNAUTHORIZED: it is so; `;
    assert.equal(
      await said(place),
      `${refused}no credentials for ${host} were found\n  imgconv login ${host} (or docker login, podman login), or give --src-creds USER:PASSWORD\n`,
    );
    const wrong = `check its name and password, then imgconv login ${host}\n`;
    assert.equal(
      await said(place, '--src-creds', 'bob:secret'),
      `${refused}tried the account "bob" from --src-creds\n  the registry refuses the account: ${wrong}`,
    );
    const auth = Buffer.from('bob:secret').toString('base64');
    const file = authfile('auth.json', JSON.stringify({ auths: { [host]: { auth } } }));
    assert.equal(
      await said(place, '--authfile', file),
      `${refused}tried the account "bob" from ${file}\n  the registry refuses the account: ${wrong}`,
    );
    const broken = authfile('broken.json', '{"auths":{');
    assert.equal(
      await said(place, '--authfile', broken),
      `imgconv: credentials cannot be read: ${broken}: not JSON: line 1 is malformed\n  fix that file, or move it away and log in again\n`,
    );
    const bare = authfile('bare.json', JSON.stringify({ auths: { [host]: { auth: 'nocolon' } } }));
    assert.match(
      await said(place, '--authfile', bare),
      /bare\.json: auths\.\S+: not user:password in base64\n {2}fix/,
    );
  });

  test('an account that lacks the right, or asks too often', async () => {
    await using registry = await FakeRegistry.start();
    const { host } = registry;
    const place = `docker://${host}/a:1`;
    registry.fail(/./, (_, response) => {
      reply(response, 403, {}, errorOf('DENIED'));
    });
    assert.match(
      await said(place, '--src-creds', 'bob:secret'),
      /\/a\/manifests\/1: status 403: DENIED: it is so; tried the account "bob" from --src-creds\n {2}the registry knows the account, which lacks/,
    );
    registry.fail(/./, (_, response) => {
      reply(response, 429, { 'retry-after': '3600' }, errorOf('TOOMANYREQUESTS'));
    });
    assert.match(
      await said(place),
      /: too many requests: status 429: TOOMANYREQUESTS: it is so; it asks to wait 3600 s\n {2}wait, then run this again/,
    );
  });

  test('ls of a repository that is not there fails, and names the nearest', async () => {
    await using registry = await FakeRegistry.start();
    registry.add({ 'team/app:1': await imageOf('one') });
    const { host } = registry;
    const none = (name: string) =>
      `imgconv: docker://${host}/${name}: there is no such repository, and none below it\n`;
    const meant = `  did you mean docker://${host}/team/app?\n`;
    assert.equal(await said(`docker://${host}/team/ap`), none('team/ap') + meant);
    assert.equal(await said(`docker://${host}/app`), none('app') + meant);
    assert.equal(
      await said(`docker://${host}/nope`),
      `${none('nope')}  imgconv ls docker://${host} lists the registry\n`,
    );
    registry.fail(/_catalog/, (_, response) => {
      reply(response, 404);
    });
    assert.equal(
      await said(`docker://${host}/nope`),
      `${none('nope')}  check the spelling; this registry does not list its repositories\n`,
    );
  });
});

describe('a place that may not be read or written', () => {
  /** Runs the command as another user where this one may all. */
  async function asOther(open: string, ...words: readonly string[]) {
    const isRoot = process.geteuid?.() === 0;
    const child = spawn(join(open, 'node'), [join(open, 'bin/imgconv.js'), ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(isRoot && { uid: OTHER, gid: OTHER }),
    });
    const status = new Promise((resolve) => child.on('close', resolve));
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { stdout, stderr, status: await status };
  }

  test('is said with its owner, its mode and who asks; --dry-run says so too', async () => {
    // The other user may go through the folders of the system alone.
    const open = mkdtempSync('/tmp/imgconv-test-');
    const [locked, source] = [join(open, 'locked'), join(open, 'source')];
    chmodSync(open, 0o755);
    // Node and the checkout may lie in a folder of this user alone.
    cpSync(process.execPath, join(open, 'node'), { dereference: true });
    chmodSync(join(open, 'node'), 0o755);
    for (const part of ['bin', 'package.json', 'dist/bundle'])
      cpSync(join(projectRoot, part), join(open, part), { recursive: true });
    mkdirSync(join(locked, 'in'), { recursive: true });
    cpSync(syncTree(), source, { recursive: true });
    chmodSync(locked, 0o000);
    const own = process.geteuid?.() ?? 0;
    const who = `\\(owner uid ${own}(?: \\(\\S+\\))?, mode 0000; you are uid ${own === 0 ? OTHER : own}(?: \\(\\S+\\))?\\)`;
    try {
      for (const words of [
        ['ls', join(locked, 'in')],
        ['verify', join(locked, 'in')],
        ['images', join(locked, 'a.yaml')],
        ['dir2reg', source, join(locked, 'in/store')],
        ['dir2reg', source, join(locked, 'store')],
        ['dir2tar', source, join(locked, 'a.tar'), '--dry-run'],
      ]) {
        const { status, stderr } = await asOther(open, ...words);
        assert.equal(status, 1);
        assert.match(
          stderr,
          new RegExp(
            `^imgconv: \\S+: permission denied(?: by ${locked})? ${who}\n {2}fix the permissions of ${locked}, or`,
          ),
          words.join(' '),
        );
      }
      const store = join(open, 'store');
      await imgconv(['dir2reg', source, store]);
      const layers = join(store, 'docker/registry/v2/repositories/demo/base/_layers/sha256');
      writeFileSync(join(store, 'docker/registry/v2/stray'), 'x');
      chmodSync(layers, 0o000);
      const { stdout } = await asOther(open, 'verify', store);
      assert.match(stdout, /_layers\/sha256: permission denied/);
      assert.match(stdout, /stray: no part of the format/);
      chmodSync(layers, 0o755);
      chmodSync(locked, 0o555);
      for (const more of [[], ['--dry-run']]) {
        const { status, stderr } = await asOther(open, 'dir2reg', source, join(locked, 'store'), ...more);
        assert.equal(status, 1);
        assert.match(stderr, new RegExp(`^imgconv: ${locked}: permission denied \\(owner`));
        assert.equal(stderr.split('\n').length, 3, stderr);
      }
    } finally {
      chmodSync(locked, 0o755);
      rmSync(open, { recursive: true });
    }
  });
});

describe('what is no archive', () => {
  test('is said to be none, and an empty pipe to be empty', async () => {
    const readme = join(projectRoot, 'README.md');
    const none =
      ': not a tar archive\n  give an archive that docker save, podman save, skopeo or imgconv wrote\n';
    const store = join(folder, 'never');
    assert.equal((await imgconv(['ls', readme])).stderr, `imgconv: ${readme}${none}`);
    assert.equal(
      (await imgconv(['tar2reg', '-', store], { stdin: 'x'.repeat(999) })).stderr,
      `imgconv: stdin${none}`,
    );
    assert.equal(
      (await imgconv(['tar2reg', '-', store])).stderr,
      'imgconv: stdin: nothing came through the pipe\n  the command before the | wrote nothing: look at its own messages, then run both again\n',
    );
  });

  test('and the command reads packed archives where no other package is installed', { skip: noXz }, () => {
    const bare = join(folder, 'bare');
    for (const part of ['bin', 'package.json', 'dist/bundle'])
      cpSync(join(projectRoot, part), join(bare, part), { recursive: true });
    const packed = join(folder, 'packed.tar.xz');
    execFileSync('sh', ['-c', `xz -c ${fixture('crane.tar')} > ${packed}`]);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(bare, 'bin/imgconv.js'), 'ls', packed, '-q'],
      { encoding: 'utf8' },
    );
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /^localhost:5003\/demo\/app:1\.0$/m);
  });
});
