import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { convert, parsePlace } from '../../src/index.js';

/*
 * node --expose-gc heap-of-run.js FOLDER COUNT PREFIX…: converts a layout of so many small images into each format, one
 * after the other, and prints for each how much of the heap is in use at most, in bytes.
 */

/** So often the heap is looked at: each collection takes a while. */
const EVERY = 500;
const TYPE = 'application/vnd.oci.image';

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Images with a layer of their own and one that they share; nothing looks into layers. */
function layLayout(folder: string, count: number): void {
  const blobs = join(folder, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType: string, text: string) => {
    const bytes = Buffer.from(text);
    const hex = sha256(bytes);
    writeFileSync(join(blobs, hex), bytes);
    return { mediaType: `${TYPE}.${mediaType}`, digest: `sha256:${hex}`, size: bytes.length };
  };
  const manifests = Array.from({ length: count }, (_, i) => {
    const layers = ['base', `layer ${i}`];
    const diffIds = layers.map((layer) => `sha256:${sha256(Buffer.from(`tar of ${layer}`))}`);
    const rootfs = { type: 'layers', diff_ids: diffIds };
    const config = put('config.v1+json', JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs }));
    const descriptors = layers.map((layer) => put('layer.v1.tar+gzip', layer));
    const manifest = { schemaVersion: 2, mediaType: `${TYPE}.manifest.v1+json`, config, layers: descriptors };
    const name = `team-${i % 7}/app-${i % 50}:v${i}`;
    const annotations = { 'org.opencontainers.image.ref.name': name };
    return { ...put('manifest.v1+json', JSON.stringify(manifest)), annotations };
  });
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}

const [, , folder = '', count = '', ...prefixes] = process.argv;
const layout = join(folder, 'layout');
layLayout(layout, Number(count));
for (const prefix of prefixes) {
  let done = 0;
  let most = 0;
  const look = () => {
    globalThis.gc?.();
    most = Math.max(most, process.memoryUsage().heapUsed);
  };
  const { images } = await convert(
    parsePlace(`oci:${layout}`),
    parsePlace(`${prefix}:${join(folder, prefix)}`),
    {
      jobs: 1,
      progress: {
        planned: look,
        started: () => {
          if (++done % EVERY === 0) look();
        },
      },
    },
  );
  if (images.length !== Number(count) || images.some(({ status }) => status !== 'written'))
    throw new Error(`${prefix}: not all were written`);
  process.stdout.write(`${prefix} ${most}\n`);
  // What the run left goes before the next one begins.
  await setImmediate();
}
