import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { imgconv } from '../support/cli.js';
import { imageOf, type Sample } from '../support/images.js';
import { start, until, type Running } from '../support/processes.js';
import { TestClient } from '../support/served.js';
import { stagingIn } from '../support/snapshot.js';
import { tempFolder } from '../support/temp.js';
import type { Found } from './outcome.js';

interface Server extends Running {
  readonly client: TestClient;
  readonly host: string;
}

async function serving(store: string): Promise<Server> {
  const running = start(['serve', store, '--writable', '--listen', '127.0.0.1:0', '--log', 'none']);
  let said = '';
  running.child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until('the address', () => said.includes('docker pull'));
  const host = /docker pull (\S+)\//.exec(said)?.[1] ?? '';
  return { ...running, host, client: new TestClient(`http://${host}/`) };
}

/** Between 0 and 1, the same for one seed and number. */
function chance(seed: string, number: number): number {
  return createHash('sha256').update(`${seed} ${number}`).digest().readUInt32BE(0) / 2 ** 32;
}

/** Images that share a layer with some others. */
function sampleOf(number: number): Promise<Sample> {
  const base = Buffer.alloc(40_000, `base ${number % 7}`);
  return imageOf(`image ${number} ${'x'.repeat((number * 997) % 50_000)}`, { base });
}

async function expectSound(store: string, when: string, found: Found): Promise<void> {
  const { status, stdout } = await imgconv(['verify', store]);
  if (status !== 0) found(`${when}: not sound: ${stdout}`);
}

/**
 * Kills the server at a random moment under pushes, again and again: what was acknowledged has to be there, whole, and
 * nothing else visible that is not.
 */
export async function killServer(
  kind: 'reg' | 'oci',
  seed: string,
  count: number,
  found: Found,
): Promise<string> {
  const store = `${kind}:${join(tempFolder(), 'store')}`;
  const path = store.slice(4);
  const acknowledged = new Map<string, string>();
  let pushed = 0;
  for (let round = 0; round < count; round++) {
    const { client, child, ended } = await serving(store);
    for (const [tag, digest] of acknowledged)
      if ((await client.pull('a/app', tag).catch(String)) !== digest)
        found(`${seed} ${round}: ${tag} is lost`);
    const timer = setTimeout(() => child.kill('SIGKILL'), chance(seed, round) * 600);
    const pushers = Array.from({ length: 4 }, async (_, one) => {
      for (let i = 0; ; i++) {
        const image = await sampleOf(round * 100 + one * 20 + (i % 20));
        const tag = `t${one}`;
        try {
          await client.push('a/app', image, tag);
        } catch {
          // It may be there or not: it was not acknowledged.
          acknowledged.delete(tag);
          return;
        }
        acknowledged.set(tag, image.root.digest);
        pushed++;
      }
    });
    await Promise.all(pushers);
    clearTimeout(timer);
    child.kill('SIGKILL');
    await ended;
    if (existsSync(path)) await expectSound(store, `${seed} ${round}`, found);
  }
  return `${count} kills, ${pushed} pushes acknowledged`;
}

/** Fifty clients push images that overlap, while garbage is collected and the store is verified. */
export async function crowd(kind: 'reg' | 'oci', found: Found): Promise<string> {
  const store = `${kind}:${join(tempFolder(), 'store')}`;
  const { client, child, ended } = await serving(store);
  await client.push('a/app', await sampleOf(0), 'first');
  const pushing = { isOver: false };
  const keeping = (async () => {
    let runs = 0;
    while (!pushing.isOver) {
      for (const words of [
        ['gc', store],
        ['verify', store],
      ]) {
        const { status, stdout, stderr } = await imgconv(words);
        if (status !== 0) found(`${words.join(' ')}: ${stdout} ${stderr}`);
        runs++;
      }
    }
    return runs;
  })();
  const pushes = Array.from({ length: 50 }, async (_, one) => {
    for (let i = 0; i < 4; i++)
      await client.push(`a/app-${one % 5}`, await sampleOf(one % 11), `t${one}-${i}`);
  });
  for (const push of await Promise.allSettled(pushes))
    if (push.status === 'rejected') found(`a push: ${String(push.reason)}`);
  pushing.isOver = true;
  const runs = await keeping;
  for (let one = 0; one < 50; one++)
    if (
      (await client.pull(`a/app-${one % 5}`, `t${one}-3`).catch(String)) !==
      (await sampleOf(one % 11)).root.digest
    )
      found(`t${one}-3 cannot be pulled`);
  child.kill('SIGTERM');
  await ended;
  await expectSound(store, 'after the crowd', found);
  for (const left of stagingIn(store.slice(4))) found(`left behind: ${left}`);
  return `200 pushes, ${runs} runs of gc and verify beside them`;
}

/** Clients that begin and do not end: uploads, requests, connections. Others are served meanwhile, and memory stays small. */
export async function idlers(found: Found): Promise<string> {
  const store = `reg:${join(tempFolder(), 'store')}`;
  const { client, child, ended, host } = await serving(store);
  const [name = '', port = ''] = host.split(':');
  const sockets = Array.from({ length: 500 }, (_, i) => {
    const socket = connect(Number(port), name);
    socket.on('error', () => undefined);
    if (i % 2 === 0)
      socket.write(`PUT /v2/a/app/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{`);
    else socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nX-');
    return socket;
  });
  let open = 0;
  let refused = 0;
  for (let i = 0; i < 10_100; i++) {
    const response = await client.ask('POST', 'a/app/blobs/uploads/');
    await response.arrayBuffer();
    if (response.status === 202) open++;
    else if (response.status === 429) refused++;
    else found(`an upload: ${response.status}`);
  }
  if (open !== 10_000) found(`${open} uploads are open`);
  const endless = await client
    .ask('PUT', 'a/app/manifests/1', {
      body: Buffer.alloc(64 * 1024 * 1024, ' '),
      headers: { 'content-type': 'application/json' },
    })
    .then((response) => response.status);
  if (endless !== 413) found(`a manifest of 64 MB: ${endless}`);
  await client.json('_catalog');
  for (const socket of sockets) socket.destroy();
  child.kill('SIGTERM');
  await ended;
  for (const left of stagingIn(store.slice(4))) found(`left behind: ${left}`);
  return `${open} uploads left open, ${refused} refused, ${sockets.length} connections left open`;
}
