import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';

/** A worker's own garbage is small; room for more is only filled. */
const YOUNG_MB = 2;

/** The worker as a script, where the build put it inside: in the library and in the single file (.bundle.js). */
declare const WORKER_SCRIPT: string;

const early: Worker[] = [];

/** Most commands need no thread, and the module for them takes a while to load. */
function start(): Worker {
  const threads = process.getBuiltinModule('node:worker_threads');
  const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
  return typeof WORKER_SCRIPT === 'string'
    ? new threads.Worker(WORKER_SCRIPT, { resourceLimits, eval: true })
    : new threads.Worker(new URL('./worker.js', import.meta.url), { resourceLimits });
}

/**
 * Starts a worker thread while the rest of the program is still loaded, where there is a core to spare: both take as
 * long. It does not keep the process running.
 */
export function startEarly(): void {
  if (availableParallelism() === 1) return;
  const worker = start();
  worker.unref();
  worker.once('error', () => early.splice(0));
  early.push(worker);
}

/** A worker thread that is the caller's to end. */
export function takeThread(): Worker {
  const worker = early.pop();
  worker?.removeAllListeners('error').ref();
  return worker ?? start();
}
