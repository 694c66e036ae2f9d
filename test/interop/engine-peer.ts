import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { outcomeOf, run, startDaemon, stopDaemon } from './peers.js';

function socketIn(folder: string): string {
  return `unix://${folder}/docker.sock`;
}

/** What ties the client to this engine, and keeps it from its user's settings. */
function environmentOf(folder: string): NodeJS.ProcessEnv {
  return { DOCKER_HOST: socketIn(folder), DOCKER_CONFIG: join(folder, 'config'), DOCKER_CONTEXT: '' };
}

/** Lines with a name and an image ID each, of the images that have a name. */
export function idsOf(list: string): Record<string, string> {
  const pairs = list.split('\n').map((line): [string, string] => {
    const [name = '', id = ''] = line.split(' ');
    return [name, id];
  });
  return Object.fromEntries(pairs.filter(([name]) => name !== '' && !name.includes('<none>')));
}

/** A Docker engine of one's own, without network and with its store in a folder. */
export class Engine {
  /** Where images are kept. */
  readonly dataRoot: string;
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(folder: string, process: ChildProcess) {
    this.dataRoot = join(folder, 'data');
    this.#folder = folder;
    this.#process = process;
  }

  static async start(scratch: string): Promise<Engine> {
    return Engine.#startIn(await mkdtemp(join(scratch, 'engine-')));
  }

  static async #startIn(folder: string): Promise<Engine> {
    const words = [
      ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
      ...['-p', join(folder, 'docker.pid'), '-H', socketIn(folder), '--iptables=false', '--bridge=none'],
    ];
    const isUp = async () => (await outcomeOf('docker', ['version'], environmentOf(folder))).status === 0;
    return new Engine(folder, await startDaemon('dockerd', words, join(folder, 'dockerd.log'), isUp));
  }

  stop(): Promise<void> {
    return stopDaemon(this.#process);
  }

  /** Ends the engine and its containerd in the midst of what they do. */
  async kill(): Promise<void> {
    const pidFile = join(this.#folder, 'exec/containerd/containerd.pid');
    const containerd = Number(await readFile(pidFile, 'utf8'));
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    process.kill(containerd, 'SIGKILL');
    await ended;
    // Where nobody waits for orphans it stays a zombie, and dockerd takes it for one that still runs.
    await rm(pidFile);
    // dockerd mounts its data root onto itself, and only the one that did so lets go of it.
    await run('umount', [this.dataRoot]);
  }

  /** After `stop` or `kill`: an engine on the same store. */
  restart(): Promise<Engine> {
    return Engine.#startIn(this.#folder);
  }

  /** Ties other clients to this engine. */
  get environment(): NodeJS.ProcessEnv {
    return environmentOf(this.#folder);
  }

  docker(...words: string[]): Promise<string> {
    return run('docker', words, environmentOf(this.#folder));
  }

  async imageId(name: string): Promise<string> {
    return (await this.docker('image', 'inspect', '-f', '{{.Id}}', name)).trim();
  }

  /** Every name it has, sorted. */
  async names(): Promise<string[]> {
    const list = await this.docker('image', 'ls', '--format', '{{.Repository}}:{{.Tag}}');
    return list
      .split('\n')
      .filter((name) => name !== '' && !name.includes('<none>'))
      .sort();
  }

  /** The image ID of every name. */
  async ids(): Promise<Record<string, string>> {
    const list = await this.docker(
      'image',
      'ls',
      '--no-trunc',
      '--format',
      '{{.Repository}}:{{.Tag}} {{.ID}}',
    );
    return idsOf(list);
  }

  /** What the image's own command prints. */
  async says(name: string): Promise<string> {
    return (await this.docker('run', '--rm', '--network', 'none', name)).trim();
  }

  async forgetImages(): Promise<void> {
    const names = await this.names();
    if (names.length > 0) await this.docker('image', 'rm', '-f', ...names);
    await this.docker('image', 'prune', '-a', '-f');
  }
}
