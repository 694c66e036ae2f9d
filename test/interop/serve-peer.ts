import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { projectRoot } from './peers.js';

/** `imgconv serve` on a free port of 127.0.0.1. */
export class Serve {
  readonly host: string;
  readonly #process: ChildProcess;

  private constructor(host: string, process: ChildProcess) {
    this.host = host;
    this.#process = process;
  }

  static start(...words: string[]): Promise<Serve> {
    return Serve.at(0, ...words);
  }

  static async at(port: number, ...words: string[]): Promise<Serve> {
    const child = spawn(
      process.execPath,
      [
        join(projectRoot, 'bin/imgconv.js'),
        'serve',
        ...words,
        '--listen',
        `127.0.0.1:${port}`,
        '--log',
        'none',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    const host = await new Promise<string>((resolve, reject) => {
      child.once('exit', () => {
        reject(new Error(said));
      });
      child.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        const [, found] = /docker pull (\S+)\/REPOSITORY/.exec(said) ?? [];
        if (found !== undefined) resolve(found);
      });
    });
    return new Serve(host, child);
  }

  get url(): string {
    return `http://${this.host}/`;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill(signal);
    await ended;
  }
}
