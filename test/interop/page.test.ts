import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { tarOf } from '../support/tars.js';
import { imgconv, missingPeers, newFolder, scratchFolder, tidy } from './peers.js';
import { expected, fixtureFolder } from './samples.js';
import { Serve } from './serve-peer.js';

const skip = missingPeers('chromium');

/** Chromium that asks nobody for anything. */
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-sync',
];

/** Settles when so many bytes of an upload were sent. */
async function sent(page: Page, bytes: number): Promise<void> {
  while (Number(await page.locator('progress').getAttribute('value')) < bytes) await page.waitForTimeout(50);
}

/** An archive as docker save writes it, of one image. */
async function archive(
  name: string,
  layer: Buffer,
  more: Record<string, string | Buffer> = {},
): Promise<Buffer> {
  const sha = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
  const body = await tarOf({ 'data.bin': layer });
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/true'], Labels: { note: '<b>bold</b>' } },
    history: [{ created_by: '<script>alert(1)</script>' }],
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha(body)}`] },
  });
  return tarOf({
    [`${sha(config)}.json`]: config,
    'layer.tar': body,
    'manifest.json': JSON.stringify([
      { Config: `${sha(config)}.json`, RepoTags: [name], Layers: ['layer.tar'] },
    ]),
    ...more,
  });
}

describe('the page of imgconv serve', { skip }, () => {
  let scratch: string;
  let browser: Browser;
  const servers: Serve[] = [];
  const pages: Page[] = [];
  /** What a page should never do: throw, or ask for what its policy forbids. */
  let wrong: string[] = [];

  before(async () => {
    scratch = await scratchFolder();
    const { chromium } = await import('playwright-core');
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: QUIET });
  });
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.context().close();
    for (const server of servers.splice(0)) await server.stop().catch(() => undefined);
    const all = wrong.splice(0);
    wrong = [];
    assert.deepEqual(all, []);
  });
  after(async () => {
    await browser.close();
    await tidy(scratch);
  });

  async function newStore(): Promise<string> {
    return join(await newFolder(scratch), 'store');
  }

  async function serving(...words: string[]): Promise<Serve> {
    const serve = await Serve.start(...words);
    servers.push(serve);
    return serve;
  }

  async function open(serve: Serve, hash = '', options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext(options);
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const page = await context.newPage();
    page.on('pageerror', (error) => wrong.push(error.message));
    page.on('console', (message) => {
      if (/Content Security Policy|Refused to/.test(message.text())) wrong.push(message.text());
    });
    page.on('dialog', (dialog) => {
      wrong.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    pages.push(page);
    await page.goto(`${serve.url}${hash}`);
    await page.locator('h2:visible').first().waitFor();
    return page;
  }

  /** Nothing for axe-core (https://github.com/dequelabs/axe-core) to find. */
  async function expectAccessible(page: Page, what: string): Promise<void> {
    const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    await page.evaluate(axe);
    const violations = await page.evaluate(async () => {
      const found = await (
        globalThis as unknown as {
          axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
        }
      ).axe.run();
      return found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`);
    });
    assert.deepEqual(violations, [], what);
  }

  async function add(page: Page, file: string): Promise<void> {
    await page.setInputFiles('#files', file);
    const card = page.locator('li.card').last();
    await card.locator('xpath=self::*[@data-state="found" or @data-state="refused"]').waitFor();
    if ((await card.getAttribute('data-state')) === 'found') {
      await card.getByRole('button', { name: 'Add the chosen images' }).click();
      await card.locator('xpath=self::*[@data-state="taken" or @data-state="refused"]').waitFor();
    }
  }

  for (const file of [
    'docker20.tar',
    'docker28.tar',
    'legacy-v1.tar',
    'containerd28.tar',
    'podman.tar',
    'nix-image.tar.gz',
    'oci.tar',
  ])
    test(`${file} is uploaded, looked at, and added; it is what imgconv copy makes of it`, async () => {
      const store = await newStore();
      const page = await open(await serving(`reg:${store}`, '--writable'));
      await add(page, join(fixtureFolder, file));
      assert.equal(await page.locator('li.card').last().getAttribute('data-state'), 'taken');
      await imgconv('verify', store, '--deep');
      const copied = join(await newFolder(scratch), 'copied');
      const prefix = file === 'oci.tar' ? 'oci-archive:' : 'docker-archive:';
      await imgconv('copy', `${prefix}${join(fixtureFolder, file)}`, `reg:${copied}`, '--no-extras');
      const list = async (place: string) => (await imgconv('ls', place, '--digests')).split('\n').sort();
      assert.deepEqual(await list(store), await list(copied));
      assert.deepEqual(
        await page
          .locator('h3 .soft')
          .allTextContents()
          .then((all) => all.length > 0),
        true,
      );
    });

  test('an image without a name is given one; a name that is taken says what it replaces', async () => {
    const store = await newStore();
    const page = await open(await serving(`reg:${store}`, '--writable'));
    await page.setInputFiles('#files', join(fixtureFolder, 'docker20-untagged.tar'));
    const button = page.getByRole('button', { name: 'Add the chosen images' });
    await button.waitFor();
    assert.ok(await button.isDisabled());
    const name = page.getByLabel(/^Name of the image/);
    await name.fill('Team/App');
    await page.getByText('a name has lower-case letters and a tag').waitFor();
    assert.ok(await button.isDisabled());
    await name.fill('demo/app:1.0');
    await button.click();
    await page.locator('[data-state="taken"]').waitFor();
    assert.match(await imgconv('ls', store), /^demo\/app:1\.0 /);
    await page.setInputFiles('#files', join(fixtureFolder, 'docker20.tar'));
    await page.getByText(/^replaces sha256:/).waitFor();
    await expectAccessible(page, 'archives that were looked at');
  });

  test('damaged archives, hostile names and links are refused, saying which', async () => {
    const store = await newStore();
    const page = await open(await serving(`reg:${store}`, '--writable'));
    const folder = await newFolder(scratch);
    const good = await archive('team/app:1', randomBytes(5000));
    const cases: [string, Buffer, RegExp][] = [
      ['cut.tar', good.subarray(0, 3000), /./],
      ['none.tar', Buffer.from('this is no archive'), /./],
      [
        'layer.tar',
        await archive('team/app:1', randomBytes(5000), { 'layer.tar': await tarOf({ other: 'x' }) }),
        /layer/,
      ],
      ['name.tar', await archive('<img src=x onerror=alert(1)>:1', randomBytes(50)), /./],
      ['up.tar', await archive('../../etc/passwd:1', randomBytes(50)), /./],
    ];
    for (const [name, bytes, words] of cases) {
      writeFileSync(join(folder, name), bytes);
      await page.setInputFiles('#files', join(folder, name));
      const card = page.locator('li.card').last();
      await card.locator('.bad').first().waitFor();
      assert.match((await card.locator('.bad').allTextContents()).join(' '), words, name);
      assert.ok(!(await card.innerText()).includes(store), 'paths of the server are not shown');
    }
    assert.equal(await page.locator('img').count(), 0);
    assert.equal(await imgconv('ls', store).catch(() => ''), '');
    await expectAccessible(page, 'refused archives');
  });

  test('a connection that is lost in the middle, and a server that is killed, cost no more than the rest', async () => {
    const store = await newStore();
    let serve = await serving(`reg:${store}`, '--writable');
    const port = Number(serve.host.split(':')[1]);
    const page = await open(serve);
    const session = await page.context().newCDPSession(page);
    const slow = { offline: false, latency: 1, downloadThroughput: -1, uploadThroughput: 4_000_000 };
    await session.send('Network.enable');
    await session.send('Network.emulateNetworkConditions', slow);
    const file = join(await newFolder(scratch), 'large.tar');
    // At times Chromium limits nothing once it is online again: all of a small file would be sent before the server is killed.
    writeFileSync(file, await archive('team/large:1', randomBytes(120_000_000)));
    const patches: string[] = [];
    page.on('request', (request) => {
      if (request.method() === 'PATCH') patches.push(request.headers()['upload-offset'] ?? '');
    });
    await page.setInputFiles('#files', file);
    await sent(page, 4_000_000);
    await session.send('Network.emulateNetworkConditions', { ...slow, offline: true });
    await session.send('Network.emulateNetworkConditions', slow);
    await sent(page, 9_000_000);
    await serve.stop('SIGKILL');
    servers.pop();
    serve = await Serve.at(port, `reg:${store}`, '--writable');
    servers.push(serve);
    await session.send('Network.emulateNetworkConditions', { ...slow, uploadThroughput: -1 });
    await page.locator('[data-state="found"]').waitFor({ timeout: 60_000 });
    assert.ok(
      patches.length >= 2 && patches.slice(1).some((offset) => Number(offset) > 1_000_000),
      patches.join(' '),
    );
    await page.getByRole('button', { name: 'Add the chosen images' }).click();
    await page.locator('[data-state="taken"]').waitFor();
    await imgconv('verify', store, '--deep');
  });

  test('the same image uploaded in two windows at once', async () => {
    const store = await newStore();
    const serve = await serving(`reg:${store}`, '--writable');
    const both = [await open(serve), await open(serve)];
    await Promise.all(both.map((page) => add(page, join(fixtureFolder, 'docker28.tar'))));
    for (const page of both)
      assert.equal(await page.locator('li.card').last().getAttribute('data-state'), 'taken');
    await imgconv('verify', store, '--deep');
  });

  test('an image: what it is made of; downloading it, for all platforms and for one; deleting its tag', async () => {
    const store = await newStore();
    await imgconv('tar2reg', join(fixtureFolder, 'docker20.tar'), store);
    await imgconv('ocitar2reg', join(fixtureFolder, 'oci.tar'), store);
    const folder = await newFolder(scratch);
    writeFileSync(join(folder, 'script.tar'), await archive('team/script:1', randomBytes(500)));
    await imgconv('tar2reg', join(folder, 'script.tar'), store);
    const serve = await serving(`reg:${store}`, '--writable');
    const page = await open(serve);
    await page.getByLabel('Search images').fill('script');
    await page.getByRole('link', { name: '1', exact: true }).click();
    await page.getByText('<script>alert(1)</script>').waitFor();
    await page.getByText('note=<b>bold</b>').waitFor();
    await page.getByRole('button', { name: /^Copy: docker pull/ }).click();
    assert.equal(
      await page.evaluate('navigator.clipboard.readText()'),
      `docker pull ${serve.host}/team/script:1`,
    );
    await expectAccessible(page, 'an image');
    await page.getByRole('button', { name: 'Delete the tag' }).click();
    await expectAccessible(page, 'the second question');
    await page.getByRole('button', { name: 'Keep' }).click();
    await page.getByRole('button', { name: 'Delete the tag' }).click();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.locator('#images').waitFor();
    assert.doesNotMatch(await imgconv('ls', store), /team\/script/);
    const url = `${serve.url}ui/download/demo/multi:1`;
    for (const [query, count] of [
      ['', 2],
      ['?platform=linux/arm64/v8', 1],
    ] as const) {
      const tar = join(await newFolder(scratch), 'down.tar');
      const response = await fetch(url + query);
      assert.equal(response.status, 200);
      writeFileSync(tar, Buffer.from(await response.arrayBuffer()));
      await imgconv('verify', `docker-archive:${tar}`);
      const platforms = JSON.parse(await imgconv('ls', `oci-archive:${tar}`, '--json=lines')) as {
        platforms: string[];
      };
      assert.ok(platforms.platforms.length >= count);
      if (count === 1) assert.deepEqual(platforms.platforms, ['linux/arm64/v8']);
    }
    assert.equal((await fetch(`${url}?platform=plan9/mips`)).status, 404);
  });

  test('what tags share; verifying; what could be deleted', async () => {
    const store = await newStore();
    await imgconv('tar2reg', join(fixtureFolder, 'docker20.tar'), store);
    const page = await open(await serving(`reg:${store}`, '--writable'), '#usage');
    await page.getByText('All tags together need').waitFor();
    assert.equal(
      await page.locator('svg.share').count(),
      Object.keys(expected.imageIds['docker20.tar'] ?? {}).length,
    );
    await expectAccessible(page, 'what tags share');
    await page.goto(page.url().replace('#usage', '#care'));
    await page.getByRole('button', { name: 'Verify every digest' }).click();
    await page.getByText(/Images checked: \d+, broken: 0/).waitFor();
    await page.getByRole('button', { name: 'What could be deleted' }).click();
    await page.getByText('imgconv gc would delete').waitFor();
    await expectAccessible(page, 'verifying');
  });

  test('light, dark, narrow, Chinese, empty and read-only: all can be read, nothing is cut', async () => {
    const empty = await serving(`reg:${await newStore()}`, '--writable');
    const full = await serving(join(fixtureFolder, 'docker28.tar'));
    for (const [what, options] of Object.entries<BrowserContextOptions>({
      light: { colorScheme: 'light' },
      dark: { colorScheme: 'dark' },
      narrow: { viewport: { width: 360, height: 640 } },
      Chinese: { locale: 'zh-CN', colorScheme: 'dark', viewport: { width: 360, height: 640 } },
    }))
      for (const serve of [empty, full]) {
        const page = await open(serve, '', options);
        await page
          .locator(serve === full ? 'section.card li' : 'h2')
          .first()
          .waitFor();
        await expectAccessible(page, what);
        const [width = 0, shown = 0] = await page.evaluate<number[]>(
          '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
        );
        assert.ok(width <= shown, `${what}: ${width} of ${shown} pixels`);
        assert.equal(await page.locator('html').getAttribute('lang'), what === 'Chinese' ? 'zh' : 'en');
        assert.equal(await page.locator('#files').count(), serve === full ? 0 : 1);
        if (what === 'Chinese') await page.getByRole('heading', { name: '镜像' }).first().waitFor();
      }
  });

  test('without JavaScript there is a plain list; names are text', async () => {
    const serve = await serving(join(fixtureFolder, 'docker28.tar'));
    const page = await open(serve, 'ui/list', { javaScriptEnabled: false });
    assert.match(
      await page.locator('main').innerText(),
      new RegExp(`docker pull ${serve.host}/demo/app:1.0`),
    );
    const start = await browser.newContext({ javaScriptEnabled: false });
    const first = await start.newPage();
    await first.goto(serve.url);
    await first.getByRole('link', { name: 'The list of images' }).click();
    await first.getByText('demo/app', { exact: true }).waitFor();
    await start.close();
  });

  test('the page weighs less than 100 KB, and uploads of others cannot be read or guessed', async () => {
    const serve = await serving(`reg:${await newStore()}`, '--writable');
    let size = 0;
    for (const path of ['', 'ui/page.js', 'ui/page.css'])
      size += (await (await fetch(serve.url + path)).arrayBuffer()).byteLength;
    assert.ok(size < 102_400, `${size} bytes`);
    for (const path of ['ui/uploads/..%2f..%2fsecret', 'ui/uploads/x', `ui/uploads/${'0'.repeat(32)}`])
      assert.notEqual((await fetch(serve.url + path)).status, 200, path);
    const check = await fetch(`${serve.url}ui/check/${'0'.repeat(32)}`, { method: 'POST' });
    assert.equal(check.status, 404);
  });
});
