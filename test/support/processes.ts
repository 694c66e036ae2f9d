import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { projectRoot } from './fixtures.js';

export interface Ended {
  /** Undefined when a signal ended it. */
  readonly status: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  /** Settles when it has ended and its output was read. */
  readonly ended: Promise<Ended>;
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** False leaves stdout unread, as a reader does that is busy. */
  readonly readStdout?: boolean | undefined;
}

/** Starts the command with pipes for its three streams. */
export function start(args: readonly string[], { env, readStdout = true }: RunOptions = {}): Running {
  const child = spawn(process.execPath, [join(projectRoot, 'bin/imgconv.js'), ...args], {
    env: { ...process.env, ...env },
  });
  child.stdin.on('error', () => undefined); // It may end without reading.
  const exited = new Promise<Pick<Ended, 'status' | 'signal'>>((resolve, reject) => {
    child.on('error', reject).on('exit', (status, signal) => {
      resolve({ status: status ?? undefined, signal: signal ?? undefined });
    });
  });
  const read = readStdout ? buffer(child.stdout) : exited.then(() => Buffer.alloc(0));
  const ended = Promise.all([exited, read, text(child.stderr)]).then(([exit, stdout, stderr]) => ({
    ...exit,
    stdout,
    stderr,
  }));
  return { child, ended };
}

/** Runs the command with these bytes on its standard input. */
export function piped(args: readonly string[], input: Uint8Array, options: RunOptions = {}): Promise<Ended> {
  const { child, ended } = start(args, options);
  child.stdin.end(input);
  return ended;
}

/** Settles when `done` says so. @throws when that takes longer than ten seconds */
export async function until(what: string, done: () => boolean): Promise<void> {
  const since = Date.now();
  while (!done()) {
    if (Date.now() - since > 10_000) throw new Error(`waited in vain for ${what}`);
    await delay(10);
  }
}

/** Rejects when the promise does not settle in time: a test that would hang is one that fails. */
export async function within<T>(seconds: number, what: string, promise: Promise<T>): Promise<T> {
  const stop = new AbortController();
  const late = delay(seconds * 1000, true, { signal: stop.signal }).then((): never => {
    throw new Error(`${what}: not after ${seconds} seconds`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

/** The most memory that a process had so far (proc(5) VmHWM), in bytes; 0 when it is gone. */
export function peakMemory(pid: number): number {
  try {
    const kilobytes = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}
