import type { PassingTar } from '../codecs/open-tar.js';

/** What stands for standard input and standard output where an archive's path does. */
export const STANDARD = '-';

/** `passing`: what is read in place of a file. */
export function archiveSource(path: string, passing?: PassingTar): string | PassingTar {
  return passing ?? (path === STANDARD ? { stream: process.stdin, where: 'stdin' } : path);
}
