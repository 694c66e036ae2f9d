import type { ChildProcess } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { outcomeOf, run, startDaemon, stopDaemon } from './peers.js';

function socketIn(folder: string): string {
  return `unix://${folder}/docker.sock`;
}

/** What ties the client to this engine, and keeps it from its user's settings. */
function environmentOf(folder: string): NodeJS.ProcessEnv {
  return { DOCKER_HOST: socketIn(folder), DOCKER_CONFIG: join(folder, 'config'), DOCKER_CONTEXT: '' };
}

/** A Docker engine of one's own, without network and with its store in a folder. */
export class Engine {
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(folder: string, process: ChildProcess) {
    this.#folder = folder;
    this.#process = process;
  }

  static async start(scratch: string): Promise<Engine> {
    const folder = await mkdtemp(join(scratch, 'engine-'));
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

  /** Ties other clients to this engine. */
  get environment(): NodeJS.ProcessEnv {
    return environmentOf(this.#folder);
  }

  get dataRoot(): string {
    return join(this.#folder, 'data');
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
