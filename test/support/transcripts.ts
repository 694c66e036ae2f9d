import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { projectRoot } from './fixtures.js';
import { tempFolder } from './temp.js';

/*
 * A transcript: a line that begins with `$ ` is a command (`> ` goes on with it), what follows is all that it says on
 * stdout and stderr. `…` stands for any part of a line, or alone for any number of lines. Every command has to
 * succeed; one that is to fail ends in `; echo "exit status $?"`.
 */
interface Command {
  readonly line: number;
  readonly text: string;
  readonly output: string;
}

/** The commands of the lines of a file that begin at `line`. */
export function commandsOf(file: string, line: number, lines: readonly string[]): Command[] {
  const commands: { line: number; text: string; output: string }[] = [];
  for (const [i, text] of lines.entries()) {
    const last = commands.at(-1);
    if (text.startsWith('$ ')) commands.push({ line: line + i, text: text.slice(2), output: '' });
    else if (last === undefined) assert.fail(`${file}:${line + i}: output before any command`);
    else if (text.startsWith('> ') && last.output === '') last.text += `\n${text.slice(2)}`;
    else last.output += `${text}\n`;
  }
  return commands;
}

/** True when `actual` is what `expected` says, whose `…` stand for anything. */
export function fits(actual: string, expected: string): boolean {
  const pattern = expected
    .split('\n')
    .slice(0, -1)
    .map((line) =>
      line === '…'
        ? '(?:.*\n)*?'
        : `${line
            .split('…')
            .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
            .join('.*')}\n`,
    );
  return new RegExp(`^${pattern.join('')}$`).test(actual);
}

/** Where transcripts run: a folder beside the checkout, which is called `imgconv` there, with imgconv on the PATH. */
export class Workplace {
  readonly #path: string;
  readonly folder: string;

  constructor() {
    const parent = tempFolder();
    this.folder = join(parent, 'work');
    this.#path = join(parent, 'path');
    for (const made of [this.folder, this.#path]) mkdirSync(made);
    symlinkSync(projectRoot, join(parent, 'imgconv'));
    symlinkSync(process.execPath, join(this.#path, 'node'));
    symlinkSync(join(projectRoot, 'bin/imgconv.js'), join(this.#path, 'imgconv'));
  }

  run(command: string): Promise<{ readonly status: number | null; readonly output: string }> {
    return new Promise((resolve, reject) => {
      const child = execFile(
        'bash',
        ['-c', `set -o pipefail; exec 2>&1\n${command}`],
        {
          cwd: this.folder,
          env: { ...process.env, PATH: [this.#path, process.env['PATH']].join(delimiter), LC_ALL: 'C' },
          timeout: 120_000,
          maxBuffer: 2 ** 26,
        },
        (error, output) => {
          if (error !== null && typeof error.code !== 'number') reject(new Error(command, { cause: error }));
          else resolve({ status: child.exitCode, output });
        },
      );
      child.stdin?.end();
    });
  }

  /** Runs the commands in their order. `localhost:5000` in them stands for `registry`. */
  async expectTranscript(
    file: string,
    commands: readonly Command[],
    registry = 'localhost:5000',
  ): Promise<void> {
    assert.ok(commands.length > 0);
    for (const { line, text, output: expected } of commands) {
      const { status, output: said } = await this.run(text.replaceAll('localhost:5000', registry));
      const output = said.replaceAll(registry, 'localhost:5000');
      const where = `${file}:${line}: $ ${text}`;
      assert.ok(fits(output, expected), `${where}\n${file} says:\n${expected}\nit says:\n${output}`);
      assert.equal(status, 0, `${where}\nexit status ${status ?? 'unknown'}\n${output}`);
    }
  }
}
