import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { buffer } from 'node:stream/consumers';
import { fixture, unpacked } from '../support/fixtures.js';
import {
  artifactOf,
  imageOf,
  indexOf,
  layStore,
  layTree,
  put,
  storedBlob,
  type Sample,
} from '../support/images.js';
import { archiveOf, entriesOf, layFiles, layoutFiles, referrerOf, savedFiles } from '../support/layouts.js';
import { filesIn } from '../support/snapshot.js';
import { readTar, tarOf } from '../support/tars.js';
import { tempFolder } from '../support/temp.js';
import { regionsOfPacked, regionsOfTar, type Region } from './damages.js';

/** A sound place of images, and what its bytes are. */
export interface Source {
  readonly name: string;
  /** The format's short name. */
  readonly short: string;
  readonly path: string;
  /** What lies there, by path below it: '' alone for an archive. */
  readonly files: ReadonlyMap<string, Buffer>;
  /** `file` in regions. */
  regionsOf(file: string): readonly Region[];
}

const DOCUMENTS = ['manifest.json', 'index.json', 'oci-layout', 'repositories', 'version', 'VERSION', 'json'];

/** What a file or member is, by its name and what is in it. */
function kindOf(name: string, body: Buffer): string {
  const last = basename(name);
  if (last === 'link') {
    if (name.includes('/_layers/')) return 'layer link';
    if (name.includes('/revisions/')) return 'revision link';
    return name.includes('/current/') ? 'tag link' : 'tag index link';
  }
  if (DOCUMENTS.includes(last)) return last;
  if (/signature-\d+$/.test(last)) return 'signature';
  if (body[0] === 0x1f && body[1] === 0x8b) return 'packed layer';
  if (body.toString('latin1', 257, 262) === 'ustar') return 'layer';
  const text = body.toString('latin1');
  if (/"(?:manifests|layers|fsLayers)":/.test(text)) return 'manifest';
  return text.includes('"rootfs"')
    ? `config${isNamedByDigest(name) ? '' : ' without a digest'}`
    : 'other blob';
}

/** In an engine's archive a config may be called anything; `<hex>.json` and `sha256:<hex>` are but names to engines. */
function isNamedByDigest(name: string): boolean {
  return /[0-9a-f]{64}/.test(name) && !/(?:^|\/)(?:[0-9a-f]{64}\.json|sha256:[0-9a-f]{64})$/.test(name);
}

function folderSource(name: string, short: string, path: string): Source {
  const files = new Map(filesIn(path).map((file) => [file, readFileSync(join(path, file))]));
  const regionsOf = (file: string) => {
    const bytes = files.get(file) ?? Buffer.alloc(0);
    const kind = kindOf(file, bytes);
    if (kind === 'packed layer') return regionsOfPacked(bytes, kind);
    return [{ kind, start: 0, end: bytes.length }];
  };
  return { name, short, path, files, regionsOf };
}

function archiveSource(name: string, short: string, bytes: Buffer, packing?: string): Source {
  const path = join(tempFolder(), 'archive');
  put(path, bytes);
  const regions =
    packing === undefined ? regionsOfTar(bytes, kindOf) : regionsOfPacked(bytes, `${packing} archive`);
  return { name, short, path, files: new Map([['', bytes]]), regionsOf: () => regions };
}

/** The same members with their names, sizes and owners in PAX records. */
async function withPax(archive: Buffer): Promise<Buffer> {
  const packed = pack();
  for (const { header, body } of await readTar(archive))
    packed.entry(
      {
        name: header.name,
        mtime: new Date(0),
        pax: { path: header.name, size: String(body.length), comment: 'x' },
      },
      body,
    );
  packed.finalize();
  return buffer(packed);
}

function packers(): [string, (bytes: Buffer) => Buffer][] {
  const programs = ['zstd', 'xz', 'bzip2'].filter(
    (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined,
  );
  return [
    ['gzip', (bytes) => gzipSync(bytes)],
    ...programs.map((program): [string, (bytes: Buffer) => Buffer] => [
      program,
      (bytes) => execFileSync(program, ['-c', '-q'], { input: bytes }),
    ]),
  ];
}

/** What a revision without a tag is in a registry's storage. */
function layRevision(store: string, repository: string, { root, blobs }: Sample): void {
  const below = join(store, 'docker/registry/v2/repositories', repository);
  for (const { digest, bytes } of [root, ...blobs]) put(storedBlob(store, digest), bytes);
  for (const { digest } of blobs) put(join(below, '_layers', digest.replace(':', '/'), 'link'), digest);
  put(join(below, '_manifests/revisions', root.digest.replace(':', '/'), 'link'), root.digest);
}

/** Every format and vintage, small. */
export async function soundSources(): Promise<Source[]> {
  const base = await tarOf({ 'etc/base': 'shared' });
  const app = await imageOf('app', { base });
  const images = {
    'demo/app:1': app,
    'demo/multi:1': indexOf([
      await imageOf('one'),
      await imageOf('two', { platform: 'linux/arm64', compress: false }),
    ]),
    'helm/chart:1': artifactOf('chart'),
  };
  // A member: the digest of a root stays sha256 where its folder is named by a tag.
  const long = indexOf([await imageOf('long', { algorithm: 'sha512' })]);
  const withLong = { ...images, 'demo/long:1': long };
  const tree = layTree(tempFolder(), withLong);
  put(join(tree, 'demo/app:1/signature-1'), Buffer.from('a signature'));
  const store = layStore(tempFolder(), withLong);
  const referrer = referrerOf(app.root, 'of app');
  layRevision(store, 'demo/app', referrer);
  const attached = { ...images, [`demo/app@${referrer.root.digest}`]: referrer };
  const saved = await archiveOf(savedFiles(attached));
  const read = (name: string) => readFileSync(fixture(name));
  return [
    folderSource('a tree', 'dir', tree),
    folderSource('a tree by skopeo', 'dir', join(unpacked('sync-digest.tar'), 'sync-digest')),
    folderSource('a store', 'reg', store),
    folderSource('a layout', 'oci', layFiles(tempFolder(), layoutFiles(entriesOf(attached)))),
    archiveSource('an archive of a layout', 'ocitar', await archiveOf(layoutFiles(entriesOf(attached)))),
    archiveSource('an archive with PAX headers', 'tar', await withPax(saved)),
    archiveSource('an archive with a layout in it', 'tar', saved),
    ...[
      'docker20',
      'docker28',
      'containerd28',
      'legacy-v1',
      'podman',
      'crane',
      'jib',
      'nix-stream',
      'buildah',
    ].map((name) => archiveSource(`${name}.tar`, 'tar', read(`${name}.tar`))),
    ...packers().map(([packing, pack_]) =>
      archiveSource(`docker20.tar in ${packing}`, 'tar', pack_(read('docker20.tar')), packing),
    ),
  ];
}
