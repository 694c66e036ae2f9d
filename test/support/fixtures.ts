import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { tempFolder } from './temp.js';

/** Tests run from dist/test/support. */
export const projectRoot = resolve(import.meta.dirname, '../../..');

export function fixture(file: string): string {
  return join(projectRoot, 'fixtures', file);
}

const byName = z.record(z.string(), z.string());

/** What the tools that made the fixtures say of them; see fixtures/README.md. */
export const expected = z
  .object({
    children: z.record(z.string(), byName),
    imageIds: z.record(z.string(), byName),
    digests: z.record(z.string(), byName),
  })
  .parse(JSON.parse(readFileSync(fixture('expected.json'), 'utf8')));

const unpackedRoot = tempFolder();

/** A fixture tar's content, unpacked once a process by the system's tar: to read, never to write. */
export function unpacked(file: string): string {
  const folder = join(unpackedRoot, file);
  if (!existsSync(folder)) {
    mkdirSync(folder);
    execFileSync('tar', ['-xf', fixture(file), '-C', folder]);
  }
  return folder;
}

/** The tree that `skopeo sync --all` made. */
export function syncTree(): string {
  return join(unpacked('sync.tar'), 'sync');
}

/** The names and digests that fixtures/expected.json gives for a file. */
export function digestsOf(file: string): Record<string, string> {
  const digests = expected.digests[file];
  if (digests === undefined) throw new Error(`expected.json says nothing of ${file}`);
  return digests;
}
