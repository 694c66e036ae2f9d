import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const indexSchema = z.looseObject({ manifests: z.array(z.unknown()) });

/** What a place looks like: files by their bytes, folders, links; with a source's inodes also which files are one file. */
export type Picture = ReadonlyMap<string, string>;

export function pictureOf(path: string, source?: ReadonlySet<number>): Picture {
  const picture = new Map<string, string>();
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return picture;
  const leaders = new Map<number, string>();
  const add = (name: string) => {
    const at = join(path, name);
    const stat = lstatSync(at);
    if (stat.isDirectory()) {
      picture.set(name, 'folder');
      for (const below of readdirSync(at).sort()) add(join(name, below));
      return;
    }
    // Which of a source's files with these bytes it is may depend on which of its images came first.
    const leader = source?.has(stat.ino) === true ? "a source's" : (leaders.get(stat.ino) ?? name);
    leaders.set(stat.ino, leader);
    const bytes = name === 'index.json' ? sortedIndex(readFileSync(at)) : readFileSync(at);
    const digest = createHash('sha256').update(bytes).digest('hex');
    picture.set(name, `${stat.size} bytes, ${digest}${source === undefined ? '' : `, is ${leader}`}`);
  };
  add('');
  return picture;
}

/** A layout's images come in the order in which runs added them, and an image that failed comes later. */
function sortedIndex(bytes: Buffer): string {
  const { manifests, ...rest } = indexSchema.parse(JSON.parse(bytes.toString()));
  return JSON.stringify([rest, manifests.map((one) => JSON.stringify(one)).sort()]);
}

/** Of a source's files, for `pictureOf`. */
export function inodesOf(path: string): Set<number> {
  const inodes = new Set<number>();
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    const at = join(entry.parentPath, entry.name);
    if (entry.isFile()) inodes.add(lstatSync(at).ino);
  }
  return inodes;
}

/** Where two pictures differ, in words; none when they are the same. */
export function differences(found: Picture, wanted: Picture): string[] {
  const names = [...new Set([...found.keys(), ...wanted.keys()])].sort();
  return names.flatMap((name) => {
    const [is, ought] = [found.get(name), wanted.get(name)];
    if (is === ought) return [];
    return [`${name}: ${is ?? 'not there'}; an undisturbed run has ${ought ?? 'nothing there'}`];
  });
}

/** Folders that hold nothing at all, and imgconv's own unfinished work. */
export function emptyFolders(picture: Picture): string[] {
  const names = [...picture.keys()];
  const isEmpty = (name: string) =>
    !names.some((other) => other !== name && other.startsWith(name === '' ? '' : `${name}/`));
  return names.filter((name) => picture.get(name) === 'folder' && isEmpty(name));
}

export function unfinished(picture: Picture): string[] {
  return [...picture.keys()].filter((name) => name.includes('.imgconv-'));
}
