import { mkdtempSync, rmSync, statfsSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What one run of the tests may take up. */
const ROOM = 1024 ** 3;
const MEMORY = '/dev/shm';

function hasRoom(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize >= ROOM;
  } catch {
    return false;
  }
}

/** Thousands of small files, each flushed: where there is room in memory, a busy disk does not slow the tests down. */
const base = process.env['TMPDIR'] === undefined && hasRoom(MEMORY) ? MEMORY : tmpdir();
const roots = [mkdtempSync(join(base, 'imgconv-test-'))];
process.on('exit', () => {
  for (const root of roots) rmSync(root, { recursive: true, force: true });
});

/** A new empty folder, gone when the process ends. */
export function tempFolder(): string {
  return mkdtempSync(join(roots[0] ?? base, 't-'));
}

/** As `tempFolder`, on another file system; undefined where there is none. */
export function tempFolderElsewhere(): string | undefined {
  const other = [tmpdir(), '/var/tmp', MEMORY].find(
    (path) =>
      statSync(path, { throwIfNoEntry: false }) !== undefined && statSync(path).dev !== statSync(base).dev,
  );
  if (other === undefined) return undefined;
  const root = mkdtempSync(join(other, 'imgconv-test-'));
  roots.push(root);
  return root;
}
