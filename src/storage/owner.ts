import { createHash, randomBytes } from 'node:crypto';
import { lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { isErrno } from '../model/errors.js';

/** What an owner that cannot be looked up (another host or container) left is believed dead after this long. */
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

/** A new name for something of this process: `<space>-<pid>-<start>-<random>`. */
export function ownerName(): string {
  return `${processSpace()}-${process.pid}-${startTime('self')}-${randomBytes(3).toString('hex')}`;
}

/** Tells names that `ownerName` gave from others. */
export function isOwnerName(text: string): boolean {
  return /^[0-9a-f]{8}-\d+-\d+-[0-9a-f]{6}$/.test(text);
}

/** True when the process that `ownerName` was called in is gone; `path` is what it left. */
export function isDeadOwner(name: string, path: string): boolean {
  const [space, pid, start] = name.split('-');
  if (space !== processSpace()) {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    return stat !== undefined && Date.now() - stat.mtimeMs > FOREIGN_AGE_MS;
  }
  const alive = startTime(Number(pid));
  // A start that could not be read, here or there, tells nothing.
  if (alive !== '0' && start !== '0') return alive !== start;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return isErrno(error, 'ESRCH');
  }
}
