import { regularFile } from '../bytes/there.js';
import type { Pool } from '../threads/pool.js';

/** True when both are regular files of the same bytes; a file that is not there is unlike any other. */
export async function sameContent(one: string, other: string, pool: Pool): Promise<boolean> {
  const [a, b] = [regularFile(one), regularFile(other)];
  if (a === undefined || b === undefined || a.size !== b.size) return false;
  const [x, y] = await Promise.all(
    [a, b].map((from) => pool.scan({ kind: 'scan', from, algorithm: 'sha256' })),
  );
  return x !== undefined && x.digest === y?.digest;
}
