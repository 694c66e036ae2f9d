import { parentPort } from 'node:worker_threads';
import { asImgconvError } from '../model/errors.js';
import {
  assemble,
  compressPiece,
  scan,
  unpack,
  type AssembleJob,
  type PieceJob,
  type PieceResult,
  type ScanJob,
  type ScanResult,
  type UnpackJob,
  type UnpackResult,
} from './jobs.js';

export type Job = ScanJob | UnpackJob | PieceJob | AssembleJob;
export type JobResult = ScanResult | UnpackResult | PieceResult | undefined;
export type Request = { readonly id: number; readonly job: Job };
export type Reply =
  | { readonly id: number; readonly bytes: number }
  | { readonly id: number; readonly result: JobResult }
  | {
      readonly id: number;
      readonly error: { code: string; message: string; hint: string | undefined; cause: string };
    };

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
    case 'scan':
      return scan(job, onBytes);
    case 'unpack':
      return unpack(job, onBytes);
    case 'gzip':
    case 'zstd':
      return compressPiece(job);
  }
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
    const { code, message, hint, stack = '', cause } = asImgconvError(error);
    reply({
      id,
      error: { code, message, hint, cause: cause instanceof Error ? (cause.stack ?? stack) : stack },
    });
  }
}

parentPort?.on('message', (request: Request) => void work(request));
