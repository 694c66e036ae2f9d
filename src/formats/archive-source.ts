import type { PassingTar } from '../codecs/open-tar.js';

/** What stands for standard input and standard output where an archive's path does. */
export const STANDARD = '-';

export function archiveSource(path: string): string | PassingTar {
  return path === STANDARD ? { stream: process.stdin, where: 'stdin' } : path;
}
