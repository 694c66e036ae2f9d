import assert from 'node:assert/strict';
import { link, mkdir, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { copied } from './engine-images.js';
import { storeSamples, unpackStore } from './engine-stores.js';
import { newFolder, run } from './peers.js';

/** A small program in sample/hard:1 that does what its words say (engines/README.md). */
const COMMANDS = [
  'rm',
  '/files/gone/x',
  'rmdir',
  '/files/gone',
  'mkdir',
  '/files/gone',
  'write',
  '/files/gone/new',
  'new',
];
const MORE = ['link', '/files/one', '/files/three', 'sparse', '/files/holes', '65536', 'rm', '/h/hard-1'];
const XATTR = ['setxattr', '/files/one', 'user.note', 'a note'];

const DOCKERFILE = `FROM localhost/sample/hard:1
COPY files /files
RUN ${JSON.stringify(['/t', ...COMMANDS, ...MORE, ...XATTR])}
LABEL live=yes
`;

/** A folder to build from, with files of every kind. */
export async function makeContext(scratch: string): Promise<string> {
  const context = await newFolder(scratch);
  const files = join(context, 'files');
  await mkdir(join(files, 'gone'), { recursive: true });
  await writeFile(join(context, 'Dockerfile'), DOCKERFILE);
  await writeFile(join(files, 'gone/x'), 'x');
  await writeFile(join(files, 'one'), 'one');
  await link(join(files, 'one'), join(files, 'two'));
  await symlink('/nowhere', join(files, 'link'));
  await writeFile(join(files, 'holes'), 'before');
  await truncate(join(files, 'holes'), 1 << 20);
  await writeFile(join(files, 'large'), Buffer.alloc(5 << 20, 'five mebibytes '));
  // Latin-1, which is no UTF-8.
  await writeFile(Buffer.concat([Buffer.from(`${files}/caf`), Buffer.from([0xe9])]), 'odd');
  await run('tar', ['--format=gnu', '-C', files, '-cf', join(context, 'files.tar'), '.']);
  await writeFile(join(context, 'attributes.tar'), await archiveWithAttributes());
  return context;
}

/** cap_net_bind_service, as the kernel keeps it. */
const CAPABILITY = '\u0001\0\0\u0002\0\u0004'.padEnd(20, '\0');

function archiveWithAttributes(): Promise<Buffer> {
  const archive = pack();
  const pax = { 'SCHILY.xattr.security.capability': CAPABILITY, 'SCHILY.xattr.user.note': 'a note' };
  archive.entry({ name: 'server', mode: 0o755, mtime: new Date(0), pax }, 'server');
  archive.finalize();
  return buffer(archive);
}

/** An archive of sample/hard:1, under the name that docker and podman both know it by. */
export async function hardArchive(scratch: string): Promise<string> {
  const sample = storeSamples.find(({ title }) => title === 'docker-vfs');
  assert.ok(sample !== undefined);
  const place = await unpackStore(sample, join(await newFolder(scratch), 'hard'));
  const archive = join(await newFolder(scratch), 'hard.tar');
  await copied([], place, `docker-archive:${archive}`, 'sample/hard:1', '-t', 'localhost/sample/hard:1');
  return archive;
}
