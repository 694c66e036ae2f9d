import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { filesIn } from './snapshot.js';
import { readTar, writeTar } from './tars.js';

export const DAMAGES = ['changed', 'missing', 'extra', 'gone'] as const;
export type Damage = (typeof DAMAGES)[number];

/** The bytes with one bit changed (in a manifest: of a digest that it names), one byte less, or one more. */
export function damaged(bytes: Buffer, how: Exclude<Damage, 'gone'>): Buffer {
  if (how === 'missing') return bytes.subarray(0, -1);
  if (how === 'extra') return Buffer.concat([bytes, Buffer.from('}')]);
  const digest = bytes.indexOf('"sha256:');
  const at = digest < 0 ? Math.floor(bytes.length / 2) : digest + 20;
  const changed = Buffer.from(bytes);
  changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
  return changed;
}

/**
 * Damages blobs wherever a place holds them, found by their bytes, so that no knowledge of the format is needed: as
 * files of their own, which get other inodes, or as members of a tar, which is packed anew.
 */
export async function damage(
  path: string,
  victims: readonly (readonly [bytes: Buffer, how: Damage])[],
): Promise<void> {
  const found = new Set<Buffer>();
  const victimOf = (bytes: Buffer) => {
    const victim = victims.find(([one]) => one.equals(bytes));
    if (victim !== undefined) found.add(victim[0]);
    return victim;
  };
  for (const name of filesIn(path)) {
    const file = join(path, name);
    const content = readFileSync(file);
    const [, how] = victimOf(content) ?? [];
    if (how !== undefined) {
      rmSync(file);
      if (how !== 'gone') writeFileSync(file, damaged(content, how));
    } else if (content.toString('latin1', 257, 262) === 'ustar') {
      const left = (await readTar(content)).flatMap(({ header, body }) => {
        const [, which] = victimOf(body) ?? [];
        if (which === 'gone') return [];
        return [{ header, body: which === undefined ? body : damaged(body, which) }];
      });
      writeFileSync(`${file}.new`, await writeTar(left));
      renameSync(`${file}.new`, file);
    }
  }
  if (found.size < victims.length)
    throw new Error(`${path} holds only ${found.size} of ${victims.length} blobs`);
}

/** The files below a path that hold any of these bytes, be it among others. */
export function holdersOf(path: string, wanted: readonly Buffer[]): string[] {
  return filesIn(path).filter((name) => {
    const content = readFileSync(join(path, name));
    return wanted.some((bytes) => content.includes(bytes));
  });
}
