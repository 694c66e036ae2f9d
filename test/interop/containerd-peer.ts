import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { outcomeOf, run, startDaemon, stopDaemon } from './peers.js';

/** CRI listens on a port, and opt makes a folder outside of ours. */
const CONFIG =
  'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n';

/** A containerd of one's own, with its store in a folder. */
export class Containerd {
  readonly root: string;
  readonly #socket: string;
  readonly #process: ChildProcess;

  private constructor(folder: string, process: ChildProcess) {
    this.root = join(folder, 'root');
    this.#socket = join(folder, 'containerd.sock');
    this.#process = process;
  }

  static async start(scratch: string): Promise<Containerd> {
    const folder = await mkdtemp(join(scratch, 'containerd-'));
    const [config, socket] = [join(folder, 'config.toml'), join(folder, 'containerd.sock')];
    await writeFile(config, CONFIG);
    const words = [
      ...['--config', config, '--root', join(folder, 'root'), '--state', join(folder, 'state')],
      ...['--address', socket],
    ];
    const isUp = async () => (await outcomeOf('ctr', ['--address', socket, 'version'])).status === 0;
    return new Containerd(folder, await startDaemon('containerd', words, join(folder, 'log'), isUp));
  }

  stop(): Promise<void> {
    return stopDaemon(this.#process);
  }

  /** Ends it in the midst of what it does. */
  async kill(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }

  ctr(namespace: string, ...words: string[]): Promise<string> {
    return run('ctr', ['--address', this.#socket, '--namespace', namespace, ...words]);
  }

  /** The digest of each image of a namespace. */
  async digests(namespace: string): Promise<Record<string, string>> {
    const [, ...lines] = (await this.ctr(namespace, 'images', 'ls')).trim().split('\n');
    const columns = lines.map((line) => line.split(/\s+/));
    return Object.fromEntries(columns.map(([name = '', , digest = '']) => [name, digest]));
  }

  /** What the image's own command prints. */
  says(namespace: string, name: string): Promise<string> {
    return this.ctr(namespace, 'run', '--rm', name, 'says');
  }
}
