import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The checkout: this file runs as dist/test/interop/peers.js. */
export const projectRoot = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * Skip reason for a suite that needs these programs (dockerd also needs root), or false when all is there.
 * With CI set a missing peer is an error: there nothing may pass for tested that was not.
 */
export function missingPeers(...programs: string[]): string | false {
  const missing = programs.filter((program) => !isOnPath(program));
  if (programs.includes('dockerd') && process.getuid?.() !== 0) missing.push('root, for dockerd');
  if (missing.length === 0) return false;
  const reason = `missing ${missing.join(', ')}: sudo test/install-peers.sh`;
  if (process.env['CI']) throw new Error(reason);
  return reason;
}

function isOnPath(program: string): boolean {
  return searchPath().some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** PATH, with the folders of system programs, which an ordinary user's lacks. */
function searchPath(): string[] {
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
}

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever that is. */
export function outcomeOf(
  program: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const options = {
      env: { ...process.env, PATH: searchPath().join(delimiter), ...env },
      maxBuffer: 64 << 20,
    };
    execFile(program, words, options, (error, stdout, stderr) => {
      if (error === null) resolve({ status: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr });
      else reject(new Error(`${program}: ${error.message}`, { cause: error }));
    });
  });
}

/** Runs a program that has to succeed, and gives what it wrote to stdout. */
export async function run(
  program: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const { status, stdout, stderr } = await outcomeOf(program, words, env);
  if (status !== 0)
    throw new Error(`${program} ${words.join(' ')}\nexit ${String(status)}\n${stderr}${stdout}`);
  return stdout;
}

/** Runs `imgconv …` as a user would; it has to succeed. */
export function imgconv(...words: string[]): Promise<string> {
  return run(process.execPath, [join(projectRoot, 'bin/imgconv.js'), ...words]);
}

/** A folder for one test file's work; `tidy` it in `after`. */
export function scratchFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'imgconv-interop-'));
}

/** An empty folder in there, as a target of its own. */
export function newFolder(scratch: string): Promise<string> {
  return mkdtemp(join(scratch, 'work-'));
}

export async function tidy(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}

/** Unpacks a tar into a folder that it makes. */
export async function unpack(archive: string, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await run('tar', ['-xf', archive, '-C', folder]);
  return folder;
}

/**
 * True where an older skopeo's copy differs from what it was given: 1.9 drops `artifactType` from the entries of an index,
 * and a referrers index has it.
 */
export function isRewrittenBySkopeo(name: string): boolean {
  return name.includes(':sha256-');
}

/** What `diff -r` has to say about two trees: nothing when they are the same. */
export async function differences(left: string, right: string): Promise<string> {
  return (await outcomeOf('diff', ['-r', left, right])).stdout;
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The paths of all skopeo directories in a tree, relative to it and sorted. */
export async function imagesInTree(tree: string): Promise<string[]> {
  const files = await readdir(tree, { recursive: true });
  return files
    .filter((file) => file.endsWith('/manifest.json'))
    .map((file) => file.slice(0, -14))
    .sort();
}

/** A name as a registry on this machine has it: without the host that it came from. */
export function withoutHost(name: string): string {
  const [first = '', ...rest] = name.split('/');
  return rest.length > 0 && (first === 'localhost' || /[.:]/.test(first)) ? rest.join('/') : name;
}

/** Starts a daemon that writes to a log file; settles when `ready` says so. One that takes longer than half a minute has failed. */
export async function startDaemon(
  program: string,
  words: readonly string[],
  log: string,
  ready: () => Promise<boolean>,
): Promise<ChildProcess> {
  const output = openSync(log, 'a');
  const env = { ...process.env, PATH: searchPath().join(delimiter) };
  const daemon = spawn(program, words, { stdio: ['ignore', output, output], env });
  for (let tries = 0; tries < 300 && daemon.exitCode === null; tries++) {
    if (await ready()) return daemon;
    await delay(100);
  }
  await stopDaemon(daemon);
  throw new Error(`${program} did not start: ${await readFile(log, 'utf8')}`);
}

/** Ends a daemon: SIGTERM, and SIGKILL for one that does not heed it. */
export async function stopDaemon(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const ended = once(daemon, 'exit');
  daemon.kill('SIGTERM');
  const lostPatience = setTimeout(() => daemon.kill('SIGKILL'), 15_000);
  await ended;
  clearTimeout(lostPatience);
}
