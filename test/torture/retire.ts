import { existsSync, lstatSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Makes what this process left unfinished look as if it had died: the start time in the owner's name becomes another.
 * Only what could not be cleared away because clearing itself failed is there.
 */
function retired(owner: string): string {
  return owner.replace(/-\d+(-[0-9a-f]+)$/, '-1$1');
}

export function retireOwners(targets: readonly string[]): void {
  const roots = targets.flatMap((target) => [dirname(target), target, join(target, 'docker/registry/v2')]);
  for (const root of roots.filter((one) => existsSync(one) && lstatSync(one).isDirectory())) {
    for (const name of readdirSync(root).filter((one) => one.startsWith('.imgconv-'))) {
      const path = join(root, name);
      if (lstatSync(path).isFile()) writeFileSync(path, retired(readFileSync(path, 'latin1')));
      if (name !== '.imgconv-lock') renameSync(path, join(root, retired(name)));
    }
  }
}
