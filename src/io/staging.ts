import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { isErrno } from '../model/errors.js';

/** Names that begin so are imgconv's own unfinished work; readers pass over them. */
export const STAGING_PREFIX = '.imgconv-';
/** A staging folder whose owner cannot be looked up (another host or container) is left alone for this long. */
const FOREIGN_AGE_MS = 24 * 60 * 60 * 1000;

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return otherwise;
  }
}

/** Where process numbers mean the same: one boot of one machine, one PID namespace. */
function processSpace(): string {
  let namespace = '';
  try {
    namespace = readlinkSync('/proc/self/ns/pid');
  } catch {
    // Not Linux: the host name alone has to do.
  }
  const boot = readOr('/proc/sys/kernel/random/boot_id', '');
  return createHash('sha256').update(`${hostname()} ${boot} ${namespace}`).digest('hex').slice(0, 8);
}

/** Field 22 of /proc/PID/stat: tells a process from a later one of the same number. */
function startTime(pid: number | 'self'): string {
  const stat = readOr(`/proc/${pid}/stat`, '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
}

function isDead(name: string, path: string): boolean {
  const [space, pid, start] = name.slice(STAGING_PREFIX.length).split('-');
  if (space !== processSpace()) {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat !== undefined && Date.now() - stat.mtimeMs > FOREIGN_AGE_MS;
  }
  const alive = startTime(Number(pid));
  if (alive !== '0') return alive !== start;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH';
  }
}

/**
 * A folder for unfinished work in the file system of its destination. What a killed process left is cleared by the
 * next one that opens the same root; what it had moved aside is put back.
 */
export class Staging {
  readonly folder: string;
  readonly #root: string;
  #made = false;
  #count = 0;

  constructor(root: string) {
    this.#root = root;
    const owner = `${processSpace()}-${process.pid}-${startTime('self')}`;
    this.folder = join(root, `${STAGING_PREFIX}${owner}-${randomBytes(3).toString('hex')}`);
    clearDead(root);
  }

  /** A new name in the folder, which exists from now on. */
  path(): string {
    if (!this.#made) mkdirSync(this.folder, { recursive: true });
    this.#made = true;
    return join(this.folder, String(this.#count++));
  }

  /** Moves what is at `path` aside, so that a new one can take its place; a record lets the next run put it back. */
  displace(path: string): void {
    const aside = this.path();
    writeFileSync(`${aside}.displaced`, relative(this.#root, path));
    renameSync(path, aside);
  }

  [Symbol.dispose](): void {
    if (this.#made) remove(this.#root, this.folder);
  }
}

function clearDead(root: string): void {
  if (!existsSync(root)) return;
  for (const name of readdirSync(root)) {
    const folder = join(root, name);
    if (!name.startsWith(STAGING_PREFIX) || !isDead(name, folder)) continue;
    try {
      remove(root, folder);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error; // Another process clears the same one.
    }
  }
}

function remove(root: string, folder: string): void {
  for (const record of readdirSync(folder)) {
    if (!record.endsWith('.displaced')) continue;
    const path = join(root, readFileSync(join(folder, record), 'utf8'));
    if (relative(root, path).startsWith('..')) continue;
    const aside = join(folder, record.slice(0, -'.displaced'.length));
    if (!existsSync(aside) || existsSync(path)) continue;
    mkdirSync(dirname(path), { recursive: true });
    renameSync(aside, path);
  }
  rmSync(folder, { recursive: true, force: true });
}
