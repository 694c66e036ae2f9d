import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Paths of all files and links at or below `path`, sorted; '' is `path` itself. None when it is not there. */
export function filesIn(path: string): string[] {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  if (!stat.isDirectory()) return [''];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .sort();
}

/** Every file's bytes, as text that compares and prints well: short texts as they are, others by digest. */
export function contentsOf(path: string): Record<string, string> {
  return Object.fromEntries(filesIn(path).map((name) => [name, shown(readFileSync(join(path, name)))]));
}

/** Bytes as `contentsOf` has them. */
export function shown(bytes: Buffer): string {
  const text = bytes.toString('latin1');
  if (text.length < 200 && /^[\x20-\x7e\n]*$/.test(text)) return text;
  return `${text.length} bytes, ${createHash('sha256').update(bytes).digest('hex')}`;
}

/** What shows that a file was touched: its inode, times and size; of folders, that they are the same ones. */
export function stateOf(path: string): Record<string, string> {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return {};
  const below = stat.isDirectory() ? readdirSync(path, { recursive: true, encoding: 'utf8' }).sort() : [];
  return Object.fromEntries(
    ['', ...below].map((name) => {
      const one = lstatSync(join(path, name), { bigint: true });
      return [name, one.isDirectory() ? `folder ${one.ino}` : `${one.ino} ${one.mtimeNs} ${one.size}`];
    }),
  );
}

/** Unfinished work that imgconv left behind, anywhere below `path`. */
export function stagingIn(path: string): string[] {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) return [];
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.includes('.imgconv-'),
  );
}

export function inodeOf(path: string): number {
  return lstatSync(path).ino;
}
