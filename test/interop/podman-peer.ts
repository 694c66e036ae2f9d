import { join } from 'node:path';
import { idsOf } from './engine-peer.js';
import { outcomeOf, run } from './peers.js';

/** podman with a storage of its own. */
export class Podman {
  /** The storage, as a place of imgconv's. */
  readonly place: string;
  readonly #root: string;
  readonly #settings: readonly string[];

  constructor(scratch: string, driver: 'vfs' | 'overlay') {
    const folder = join(scratch, `podman-${driver}`);
    this.#root = join(folder, 'root');
    this.place = `containers-storage:[${driver}@${this.#root}]`;
    this.#settings = [
      ...['--root', this.#root, '--runroot', join(folder, 'run'), '--tmpdir', join(folder, 'tmp')],
      ...['--storage-driver', driver, '--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
    ];
  }

  podman(...words: string[]): Promise<string> {
    return run('podman', [...this.#settings, ...words]);
  }

  /** What the image's own command prints. podman's own limits are higher than some sandboxes allow. */
  run(...words: string[]): Promise<string> {
    const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024'];
    return this.podman('run', ...limits, '--network', 'none', ...words);
  }

  /** The image ID of every name. */
  async ids(): Promise<Record<string, string>> {
    const format = '{{.Repository}}:{{.Tag}} {{.ID}}';
    return idsOf(await this.podman('images', '--no-trunc', '--format', format));
  }

  /** Lets go of the storage, which the overlay driver mounts onto itself. */
  async stop(): Promise<void> {
    await this.podman('rm', '--all', '--force');
    await outcomeOf('umount', [join(this.#root, 'overlay')]);
  }
}
