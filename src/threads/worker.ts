import { parentPort } from 'node:worker_threads';
import { asImgconvError } from '../model/errors.js';
import { speakAsCommand } from '../model/voice.js';
import { assemble, type AssembleJob } from '../bytes/assemble.js';
import { glance, type GlanceJob, type Glances } from '../bytes/glance.js';
import { linkProven, type LinkJob, type Unlinked } from '../bytes/link.js';
import { scan, type ScanJob, type ScanResult } from '../bytes/scan.js';
import { readTreePart, type TreeJob, type TreePart } from '../bytes/tree.js';
import { encode, type EncodeJob, type EncodeResult } from '../codecs/encode.js';
import { compressPiece, type PieceJob, type PieceResult } from '../codecs/pieces.js';
import { unpack, type UnpackJob, type UnpackResult } from '../codecs/unpack.js';

/** What small files are asked for, many to a message. */
export type SmallJob = ScanJob | LinkJob;
interface SmallJobs {
  readonly kind: 'small';
  readonly jobs: readonly SmallJob[];
}
export type SmallResult = ScanResult | Unlinked | undefined;

export type Job = ScanJob | SmallJobs | UnpackJob | PieceJob | EncodeJob | AssembleJob | GlanceJob | TreeJob;
export type JobResult =
  ScanResult | SmallResults | UnpackResult | PieceResult | EncodeResult | Glances | TreePart | undefined;
/** In the order of the jobs. */
export type SmallResults = readonly ({ readonly result: SmallResult } | { readonly error: ErrorText })[];
/** An error of ours, which no message can carry. */
export interface ErrorText {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly cause: string;
}
export type Request = { readonly id: number; readonly job: Job };
export type Reply =
  | { readonly id: number; readonly bytes: number }
  | { readonly id: number; readonly result: JobResult }
  | { readonly id: number; readonly error: ErrorText };

/** How often a long scan says how far it is. */
const REPORT_EVERY = 16 * 1024 * 1024;

function reply(message: Reply): void {
  parentPort?.postMessage(message);
}

function resultOf(job: Job, onBytes: (count: number) => void): JobResult | Promise<JobResult> {
  switch (job.kind) {
    case 'assemble':
      assemble(job);
      return undefined;
    case 'glance':
      return glance(job);
    case 'scan':
      return scan(job, onBytes);
    case 'small':
      return doAll(job.jobs);
    case 'tree':
      return readTreePart(job);
    case 'unpack':
      return unpack(job, onBytes);
    case 'encode':
      return encode(job, onBytes);
    case 'gzip':
    case 'zstd':
      return compressPiece(job);
  }
}

async function doAll(jobs: readonly SmallJob[]): Promise<SmallResults> {
  const results: SmallResults[number][] = [];
  for (const job of jobs) {
    try {
      results.push({ result: job.kind === 'link' ? linkProven(job) : await scan(job) });
    } catch (error) {
      results.push({ error: errorTextOf(error) });
    }
  }
  return results;
}

function errorTextOf(error: unknown): ErrorText {
  const { code, message, hint, stack = '', cause } = asImgconvError(error);
  return { code, message, hint, cause: cause instanceof Error ? (cause.stack ?? stack) : stack };
}

async function work({ id, job }: Request): Promise<void> {
  try {
    let unsaid = 0;
    const onBytes = (count: number) => {
      if ((unsaid += count) < REPORT_EVERY) return;
      reply({ id, bytes: unsaid });
      unsaid = 0;
    };
    const result = await resultOf(job, onBytes);
    if (unsaid > 0) reply({ id, bytes: unsaid });
    reply({ id, result });
  } catch (error) {
    reply({ id, error: errorTextOf(error) });
  }
}

// What is said here is said again, and voiced, by the thread that asked.
speakAsCommand();
parentPort?.on('message', (request: Request) => void work(request));
