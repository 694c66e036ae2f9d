import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { missingPeers, outcomeOf } from '../interop/peers.js';

/** The root folder of a newer system, as debootstrap makes it, whose programs are compared with. */
const ROOT = process.env['BENCH_PEERS'];

/**
 * What starts a program: the one in BENCH_PEERS where there is one, else this machine's. The other system's own loader
 * starts it with that system's libraries, so that nothing has to be mounted there.
 */
export function peerWords(program: string): string[] {
  const path = join(ROOT ?? '', 'usr/bin', program);
  if (ROOT === undefined || !existsSync(path)) return [program];
  const libraries = join(ROOT, 'usr/lib');
  const folder = readdirSync(libraries).find((name) => name.endsWith('-linux-gnu'));
  const loader = readdirSync(join(libraries, folder ?? '')).find((name) => /^ld-linux.*\.so/.test(name));
  if (folder === undefined || loader === undefined) return [program];
  const inside = join(libraries, folder);
  return [join(inside, loader), '--library-path', inside, path];
}

/** As `missingPeers`, with those that BENCH_PEERS has. */
export function missingInBench(...programs: string[]): string | false {
  return missingPeers(...programs.filter((program) => peerWords(program).length === 1));
}

const WITH_VERSION = ['skopeo', 'crane', 'docker-registry', 'openssl'];

/** Each peer that is there with the version of its Debian package, which is named as the program is. */
export async function peerVersions(): Promise<string[]> {
  const versions: string[] = [];
  for (const name of WITH_VERSION) {
    const isOther = peerWords(name).length > 1;
    const database = join(isOther ? (ROOT ?? '') : '/', 'var/lib/dpkg');
    const words = [`--admindir=${database}`, '-W', '-f', '${Version}', name];
    const { stdout } = await outcomeOf('dpkg-query', words);
    const version = /^\d+(?:\.\d+)*/.exec(stdout.trim())?.[0];
    if (version !== undefined) versions.push(`${name} ${version}`);
  }
  return versions;
}
