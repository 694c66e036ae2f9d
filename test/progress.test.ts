import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { imgconv } from './support/cli.js';
import { FakeRegistry, errorOf, reply } from './support/fake-registry.js';
import { projectRoot } from './support/fixtures.js';
import { imageOf, layStore, type Sample } from './support/images.js';
import { start, until, within, type Running } from './support/processes.js';
import { tempFolder } from './support/temp.js';

const LARGE = 1024 * 1024;

function large(text: string): Promise<Sample> {
  return imageOf(text, { base: randomBytes(LARGE), compress: false });
}

/** What a command writes, as it comes. */
class Output {
  readonly running: Running;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[]) {
    this.running = start(args);
    this.running.child.stdout.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.running.child.stderr.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
  }

  /** Waits for a whole line on stdout. */
  line(pattern: RegExp): Promise<void> {
    return until(String(pattern), () =>
      this.stdout
        .split('\n')
        .slice(0, -1)
        .some((one) => pattern.test(one)),
    );
  }

  ended() {
    return within(30, 'the end', this.running.ended);
  }
}

/** Holds back the second half of each blob with this many bytes or more until it is let go. */
function holdBack(registry: FakeRegistry, digest: string): { readonly letGo: () => void } {
  let letGo: () => void = () => undefined;
  const free = new Promise<void>((resolve) => (letGo = resolve));
  registry.fail(new RegExp(`^GET .*/blobs/${digest}`), async (request, response) => {
    const end = response.end.bind(response);
    response.end = ((body: unknown) => {
      if (!(body instanceof Uint8Array)) return end();
      const half = body.length / 2;
      response.write(body.subarray(0, half));
      void free.then(() => end(body.subarray(half)));
      return response;
    }) as typeof response.end;
    await registry.answer(request, response);
  });
  return { letGo };
}

/** Two images, the second of which is not sent to its end; what `save` writes into a store. */
async function halfSaved(more: readonly string[] = []) {
  const images = { 'team/a:1': await large('a'), 'team/b:1': await large('b') };
  const registry = (await FakeRegistry.start()).add(images);
  const held = holdBack(registry, images['team/b:1'].blobs[1]?.digest ?? '');
  const store = join(tempFolder(), 'store');
  const args = ['save', ...Object.keys(images).map((name) => `${registry.host}/${name}`), store, ...more];
  return { images, registry, store, args, output: new Output(args), ...held };
}

function eventsIn(stdout: string): Record<string, unknown>[] {
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('results come as they are', () => {
  test('an image has its line while another is still downloaded', async () => {
    const { registry, output, images, letGo } = await halfSaved();
    await using _ = registry;
    await output.line(/^written {3}team\/a:1 sha256:/);
    assert.doesNotMatch(output.stdout, /team\/b:1/);
    letGo();
    const { status } = await output.ended();
    assert.equal(status, 0, output.stderr);
    const [a, b] = [images['team/a:1'], images['team/b:1']].map(({ root }) => root.digest);
    assert.equal(
      output.stdout.replace(/blobs: .*/, 'blobs'),
      `written   team/a:1 ${a ?? ''}\nwritten   team/b:1 ${b ?? ''}\n2 images: 2 written; blobs\n`,
    );
  });

  test('--json=lines has an event for each, and the summary last', async () => {
    const { registry, output, images, letGo } = await halfSaved(['--json=lines']);
    await using _ = registry;
    await output.line(/"event":"image"/);
    await output.line(/"event":"progress".*"images":\["team\/b:1"\]/);
    assert.doesNotMatch(output.stdout, /"event":"image".*team\/b:1/);
    letGo();
    const { status } = await output.ended();
    assert.equal(status, 0, output.stderr);
    assert.equal(output.stderr, '');
    const events = eventsIn(output.stdout);
    assert.equal(events[0]?.['event'], 'plan');
    assert.deepEqual(
      events
        .filter(({ event }) => event === 'image')
        .map(({ name, digest, status }) => [name, digest, status]),
      Object.entries(images).map(([name, { root }]) => [name, root.digest, 'written']),
    );
    const { event, images: counts, untaggedLeftOut } = events.at(-1) ?? {};
    assert.deepEqual([event, counts, untaggedLeftOut], ['summary', { written: 2 }, 0]);
  });

  test('a failed image has its line when it fails, and its error at the end', async () => {
    const { registry, store, letGo, ...saved } = await halfSaved();
    await using _ = registry;
    saved.output.running.child.kill();
    await saved.output.ended();
    registry.blobs.delete(saved.images['team/a:1'].blobs[0]?.digest ?? '');
    registry.linked.delete(`team/a ${saved.images['team/a:1'].blobs[0]?.digest ?? ''}`);
    const held = holdBack(registry, saved.images['team/b:1'].blobs[1]?.digest ?? '');
    const output = new Output(saved.args);
    await output.line(/^failed {4}team\/a:1/);
    assert.doesNotMatch(output.stdout, /team\/b:1/);
    held.letGo();
    letGo();
    const { status } = await output.ended();
    assert.equal(status, 1);
    assert.match(output.stdout, /^written {3}team\/b:1/m);
    assert.match(output.stderr, /team\/a: sha256:\w+ is not there/);
    assert.ok(store);
  });

  test('--json=lines ends with the error where nothing can be done', async () => {
    const { status, stdout } = await imgconv(['reg2dir', '/nowhere', tempFolder(), '--json=lines']);
    assert.equal(status, 1);
    const [{ event, error }] = eventsIn(stdout) as [{ event: string; error: { code: string } }];
    assert.deepEqual([event, error.code], ['error', 'NOT_FOUND']);
  });

  test('--json takes no other value', async () => {
    const { status, stderr } = await imgconv(['ls', '.', '--json=line']);
    assert.equal(status, 2);
    assert.match(stderr, /--json=line: not lines\n {2}did you mean --json=lines\?/);
  });

  test('ls, verify and gc have lines too', async () => {
    const store = layStore(join(tempFolder(), 'store'), {
      'a/b:1': await imageOf('1'),
      'a/b:2': await imageOf('2'),
    });
    const run = async (...args: string[]) =>
      eventsIn((await imgconv([...args, store, '--json=lines'])).stdout);
    assert.deepEqual(
      (await run('ls')).map(({ name }) => name),
      ['a/b:1', 'a/b:2'],
    );
    const [summary, ...none] = await run('verify');
    assert.deepEqual([summary?.['event'], summary?.['images'], none], ['summary', 2, []]);
    const [collected] = await run('gc');
    assert.deepEqual([collected?.['event'], collected?.['revisions']], ['summary', 0]);
  });
});

describe('what takes long is said', () => {
  test('a retry, with what the registry answered', async () => {
    await using registry = (await FakeRegistry.start()).add({ 'team/a:1': await imageOf('a') });
    registry.fail(/^GET .*manifests/, (_, response) => {
      reply(response, 503, {}, errorOf('UNAVAILABLE', 'back soon'));
    });
    const save = (...more: string[]) =>
      imgconv([
        ...['save', `${registry.host}/team/a:1`, join(tempFolder(), 'store'), '--retry-delay', '100ms'],
        ...more,
      ]);
    const { status, stderr } = await save();
    assert.equal(status, 0, stderr);
    const said = `imgconv: retrying in 0\\.1 s \\(1 of 3\\): http://${registry.host}/v2/team/a/manifests/1: status 503: UNAVAILABLE: back soon\n`;
    assert.match(stderr, new RegExp(`^${said}$`));
    registry.fail(/^GET .*manifests/, (_, response) => {
      reply(response, 503, {}, errorOf('UNAVAILABLE', 'back soon'));
    });
    const lines = await save('--json=lines');
    const retry = eventsIn(lines.stdout).find(({ event }) => event === 'retry');
    assert.deepEqual([retry?.['retry'], retry?.['of'], lines.stderr], [1, 3, '']);
  });

  test('a registry that does not answer', async () => {
    await using registry = (await FakeRegistry.start()).add({ 'team/a:1': await imageOf('a') });
    registry.fail(/manifests/, async (request, response) => {
      await delay(12_000);
      await registry.answer(request, response);
    });
    const { status, stderr } = await imgconv(['ls', `docker://${registry.host}/team/a:1`]);
    assert.equal(status, 0, stderr);
    assert.equal(stderr, `imgconv: waiting for ${registry.host} (no answer for 10 s)\n`);
  });
});

describe('an interruption', () => {
  test('says what is complete, what is kept and how to resume', async () => {
    const { registry, output, store, args, letGo } = await halfSaved();
    await using _ = registry;
    await output.line(/^written {3}team\/a:1/);
    output.running.child.kill('SIGINT');
    const { status } = await output.ended();
    assert.equal(status, 130);
    const folder = join(store, 'docker/registry/v2/.imgconv-partial');
    assert.match(
      output.stderr,
      new RegExp(
        `^imgconv: interrupted: 1 of 2 images are complete; \\d+\\.\\d kB of downloads are kept in ${folder}\n  run the same command again to resume\n$`,
      ),
    );
    letGo();
    registry.forget();
    const again = await imgconv(args);
    assert.equal(again.status, 0, again.stderr);
    assert.match(again.stdout, /2 images: 1 written, 1 unchanged/);
    assert.ok(registry.seen.some(({ range }) => range !== undefined));
  });

  test('a second signal ends the command at once, whatever the first one waits for', async () => {
    const module = join(projectRoot, 'dist/src/cli/interrupt.js');
    const code = `import { Interrupt } from ${JSON.stringify(module)};
      new Interrupt().signal.addEventListener('abort', () => console.log('first'));
      setInterval(() => undefined, 1000);
      console.log('ready');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', code]);
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = new Promise((resolve) =>
      child.on('exit', (_, signal) => {
        resolve(signal);
      }),
    );
    await until('ready', () => said.includes('ready'));
    child.kill('SIGINT');
    await until('the first signal', () => said.includes('first'));
    child.kill('SIGINT');
    assert.equal(await within(5, 'the second signal', ended), 'SIGINT');
  });

  test('says that an archive was not written', async () => {
    const { registry, images } = await halfSaved();
    await using _ = registry;
    const held = holdBack(registry, images['team/b:1'].blobs[1]?.digest ?? '');
    const archive = join(tempFolder(), 'images.tar');
    const output = new Output(['copy', `docker://${registry.host}/team/b:1`, `docker-archive:${archive}`]);
    await until('a download', () => registry.asked(/blobs/).length > 3);
    await delay(1000);
    output.running.child.kill('SIGINT');
    await output.ended();
    assert.match(output.stderr, new RegExp(`^imgconv: interrupted: ${archive} was not written; .* kept in `));
    held.letGo();
  });
});

test('push --dry-run says what is to be sent and what is there, and no disk space', async () => {
  const base = randomBytes(LARGE);
  const [one, two, three] = await Promise.all(
    ['1', '2', '3'].map((text) => imageOf(text, { base, compress: false })),
  );
  assert.ok(one && two && three);
  await using registry = (await FakeRegistry.start()).add({ 'm/a/x:1': one });
  const store = layStore(join(tempFolder(), 'store'), { 'a/x:1': one, 'a/x:2': two, 'b/x:3': three });
  const args = ['push', store, `docker://${registry.host}/m`, '--dry-run'];
  const { status, stdout, stderr } = await imgconv(args);
  assert.equal(status, 0, stderr);
  const last = stdout.split('\n').slice(3);
  assert.match(
    last[0] ?? '',
    /^3 images; blobs: 6 to upload \([\d.]+ kB\), 1 to mount \(1\.0 MB\), 3 already there/,
  );
  assert.deepEqual(last.slice(1), ['nothing was sent', '']);
  assert.deepEqual(
    registry.seen.filter(({ method }) => method !== 'HEAD' && method !== 'GET'),
    [],
  );
});

test('verify of a registry counts a blob that two repositories share once', async () => {
  const image = await imageOf('a');
  await using registry = (await FakeRegistry.start()).add({ 'team/a:1': image, 'team/b:1': image });
  const { stdout } = await imgconv(['verify', `docker://${registry.host}`]);
  assert.match(stdout, /^2 images checked, 0 broken; 2 blobs read/);
});

/** Runs the command on a terminal of its own (script(1)). */
async function onTerminal(args: readonly string[]): Promise<string> {
  const quoted = [process.execPath, join(projectRoot, 'bin/imgconv.js'), ...args]
    .map((word) => `'${word}'`)
    .join(' ');
  const child = spawn('script', ['-qec', `stty cols 100; ${quoted}`, '/dev/null'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return text(child.stdout);
}

test('on a terminal a bar is cleared before a line is printed', async () => {
  const { registry, args, output, letGo } = await halfSaved();
  await using _ = registry;
  output.running.child.kill();
  await output.ended();
  letGo();
  const held = holdBack(registry, (await large('none')).root.digest);
  const images = args.slice(1, 3);
  registry.fail(
    /^GET .*team\/b\/blobs/,
    async (request, response) => {
      await delay(4000);
      await registry.answer(request, response);
    },
    2,
  );
  const written = await onTerminal(['save', ...images, join(tempFolder(), 'store')]);
  held.letGo();
  const CLEAR = '\r\x1b[2K';
  assert.match(written, /\[#* *\] [\d.]+ .B of [\d.]+ MB \(\d+%\).*team\/b:1/);
  const lines = written.split('\r\n').map((line) => line.slice(line.lastIndexOf(CLEAR) + 1));
  assert.ok(
    lines.some((line) => /^(?:.*\[2K)?written {3}team\/a:1 sha256:\w+$/.test(line)),
    written,
  );
  for (const frame of written.split(CLEAR)) assert.ok(frame.length < 250, frame);
});
