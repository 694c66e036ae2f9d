import { createReadStream } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { convertCommand } from '../../src/cli/convert.js';
import { errorText, EXIT } from '../../src/cli/exit.js';
import { asImgconvError } from '../../src/model/errors.js';
import { place } from '../support/places.js';
import { arm, disarm } from './injector.js';
import type { Outcome, Run } from './outcome.js';

/** No run of a small conversion takes so long: one that does hangs. */
const PATIENCE_MS = 30_000;

const uncaught: string[] = [];
const note = (error: unknown) => {
  uncaught.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
};
process.on('unhandledRejection', note).on('uncaughtException', note);
let signals = 0;
// A signal that comes when a run is over finds nobody else.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => signals++);
process.setMaxListeners(0);

function sink(): { stream: Writable; bytes: () => Buffer } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });
  return { stream, bytes: () => Buffer.concat(chunks) };
}

/** What the command does once its words are parsed: parsing them takes longer than a small conversion. */
async function command([name = '', from = '', to = '', ...options]: readonly string[]): Promise<number> {
  const [source = '', target = ''] = name.split('2');
  try {
    const link = options.includes('copy') ? { link: 'copy' as const } : {};
    return await convertCommand(place(source, from), place(target, to), link);
  } catch (error) {
    const known = asImgconvError(error);
    process.stderr.write(`imgconv: ${errorText(known)}`);
    return EXIT[known.code];
  }
}

/** Runs the command within this process, many times faster than in one of its own. Only one runs at a time. */
export const here: Run = async (args, stdin, { plan } = {}): Promise<Outcome> => {
  const [out, problem] = [sink(), sink()];
  const input = stdin === undefined ? Readable.from([]) : createReadStream(stdin);
  input.on('error', () => undefined); // Of closing it: the real standard input is not closed.
  const streams = { stdin: input, stdout: out.stream, stderr: problem.stream };
  const own = { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr };
  for (const [name, value] of Object.entries(streams))
    Object.defineProperty(process, name, { value, configurable: true, writable: true });
  uncaught.length = 0;
  const stop = new AbortController();
  let status: number | undefined;
  const before = signals;
  if (plan !== undefined) arm(plan);
  try {
    const late = delay(PATIENCE_MS, undefined, { signal: stop.signal });
    late.catch(() => undefined);
    status = await Promise.race([command(args), late]);
    if (status === undefined) uncaught.push('it hangs');
    // Errors that nobody waits for come to light in the next turns of the loop.
    await delay(1);
  } catch (error) {
    note(error);
  } finally {
    stop.abort();
    for (const [name, value] of Object.entries(own))
      Object.defineProperty(process, name, { value, configurable: true, writable: true });
  }
  const { count, fired } = disarm();
  // One that was sent at the run's end is not to interrupt the next.
  const isSignal = plan?.action === 'SIGINT' || plan?.action === 'SIGTERM';
  while (isSignal && fired !== undefined && signals === before) await delay(1);
  input.destroy();
  return {
    status,
    stdout: out.bytes(),
    stderr: problem.bytes().toString(),
    count: plan === undefined ? undefined : count,
    fired,
    uncaught: [...uncaught],
  };
};
