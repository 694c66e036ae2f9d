import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { lstatSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import tar from 'tar-stream';

/*
 * Makes of the npm package, and of the Node that runs this, what runs where there is no Node:
 *   dist/package/imgconv-linux-ARCH  one file
 *   dist/package/imgconv-image.tar   a container image, made by imgconv itself
 * Both take their platform and their C library from this machine.
 */
process.chdir(fileURLToPath(new URL('.', import.meta.url)));
const out = 'dist/package';
const work = mkdtempSync(join(tmpdir(), 'imgconv-package-'));
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const architecture = { x64: 'amd64', ia32: '386' }[process.arch] ?? process.arch;

/** Node itself, with the command's script as its resource (https://nodejs.org/api/single-executable-applications.html). */
function makeSingleFile() {
  const [config, blob] = ['sea.json', 'sea.blob'].map((name) => join(work, name));
  const settings = { main: 'dist/single/imgconv.cjs', output: blob, disableExperimentalSEAWarning: true };
  writeFileSync(config, JSON.stringify({ ...settings, useCodeCache: true }));
  execFileSync(process.execPath, ['--experimental-sea-config', config], { stdio: 'pipe' });
  const file = join(out, `imgconv-linux-${architecture}`);
  const made = join(work, 'imgconv');
  copyFileSync(realpathSync(process.execPath), made);
  chmodSync(made, 0o755);
  const fuse = ['--sentinel-fuse', 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'];
  // It warns of sections without a name, which Node's own builds have.
  execFileSync('node_modules/.bin/postject', [made, 'NODE_SEA_BLOB', blob, ...fuse], { stdio: 'pipe' });
  copyFileSync(made, file);
  return file;
}

/** The shared libraries that a program is loaded with, and the loader itself, by the paths that it looks for. */
function librariesOf(program) {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path);
}

/** A layer: whoever owns the files here and whenever they were made, the same files make the same bytes. */
async function layerOf(files) {
  const pack = tar.pack();
  const made = buffer(pack);
  const folders = new Set();
  const add = (name, from) => {
    for (let at = dirname(name), up = []; ; at = dirname(at)) {
      if (at !== '.') up.unshift(at);
      else {
        for (const one of up.filter((folder) => !folders.has(folder))) {
          folders.add(one);
          pack.entry({ name: `${one}/`, type: 'directory', mode: 0o755, mtime: new Date(0) });
        }
        break;
      }
    }
    const mode = lstatSync(from).mode & 0o111 ? 0o755 : 0o644;
    pack.entry({ name, mode, mtime: new Date(0) }, readFileSync(from));
  };
  for (const [name, from] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) add(name, from);
  pack.finalize();
  return made;
}

function filesBelow(folder, as) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [join(as, relative(folder, path)), path]);
}

/** An OCI image layout of one image, which imgconv then compresses, and puts into an archive that engines load. */
async function makeImage() {
  const root = 'usr/lib/imgconv';
  const [packed] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', work], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  execFileSync('tar', ['-xzf', join(work, packed.filename), '-C', work]);
  const node = realpathSync(process.execPath);
  const layers = [
    await layerOf([
      ['usr/bin/node', node],
      ...librariesOf(node).map((path) => [path.slice(1), realpathSync(path)]),
    ]),
    await layerOf(filesBelow(join(work, 'package'), root)),
  ];
  const layout = join(work, 'layout');
  const blobs = join(layout, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType, content) => {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const descriptors = layers.map((bytes) => put('application/vnd.oci.image.layer.v1.tar', bytes));
  const config = put('application/vnd.oci.image.config.v1+json', {
    architecture,
    os: 'linux',
    config: { Entrypoint: ['/usr/bin/node', `/${root}/bin/imgconv.js`], Env: ['PATH=/usr/bin', 'CI=1'] },
    rootfs: { type: 'layers', diff_ids: descriptors.map(({ digest }) => digest) },
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = put(mediaType, { schemaVersion: 2, mediaType, config, layers: descriptors });
  const annotations = { 'org.opencontainers.image.ref.name': `imgconv:${version}` };
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(layout, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  const file = join(out, 'imgconv-image.tar');
  const words = ['oci2tar', layout, file, '--recompress', '--compression', 'gzip', '--quiet'];
  execFileSync(process.execPath, ['bin/imgconv.js', ...words], { stdio: ['ignore', 'ignore', 'inherit'] });
  return file;
}

try {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  for (const file of [makeSingleFile(), await makeImage()])
    console.log(`${file}  ${(lstatSync(file).size / 1e6).toFixed(1)} MB`);
} finally {
  rmSync(work, { recursive: true });
}
