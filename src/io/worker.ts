import { parentPort } from 'node:worker_threads';
import { asImgconvError } from '../model/errors.js';
import {
  compressPiece,
  scan,
  type PieceJob,
  type PieceResult,
  type ScanJob,
  type ScanResult,
} from './jobs.js';

export type Request = { readonly id: number; readonly job: ScanJob | PieceJob };
export type Reply =
  | { readonly id: number; readonly bytes: number }
  | { readonly id: number; readonly result: ScanResult | PieceResult }
  | {
      readonly id: number;
      readonly error: { code: string; message: string; hint: string | undefined; cause: string };
    };

/** How often a long scan says how far it is. */
const REPORT_EVERY = 16 * 1024 * 1024;

function reply(message: Reply): void {
  parentPort?.postMessage(message);
}

async function work({ id, job }: Request): Promise<void> {
  try {
    if (job.kind !== 'scan') {
      reply({ id, result: await compressPiece(job) });
      return;
    }
    let unsaid = 0;
    const result = scan(job, (count) => {
      if ((unsaid += count) < REPORT_EVERY) return;
      reply({ id, bytes: unsaid });
      unsaid = 0;
    });
    reply({ id, bytes: unsaid });
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
