import { parentPort } from 'node:worker_threads';
import { asImgconvError } from '../model/errors.js';
import { deflate, scan, type DeflateJob, type DeflateResult, type ScanJob, type ScanResult } from './jobs.js';

export type Request = { readonly id: number; readonly job: ScanJob | DeflateJob };
export type Reply =
  | { readonly id: number; readonly bytes: number }
  | { readonly id: number; readonly result: ScanResult | DeflateResult }
  | { readonly id: number; readonly error: { code: string; message: string; hint: string | undefined } };

/** How often a long scan says how far it is. */
const REPORT_EVERY = 16 * 1024 * 1024;

parentPort?.on('message', ({ id, job }: Request) => {
  const reply = (message: Reply, transfer: ArrayBuffer[] = []) => parentPort?.postMessage(message, transfer);
  try {
    if (job.kind === 'deflate') {
      const result = deflate(job);
      reply({ id, result }, [result.deflated.buffer]);
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
    const { code, message, hint } = asImgconvError(error);
    reply({ id, error: { code, message, hint } });
  }
});
