import { setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import type { AssembleJob } from '../bytes/assemble.js';
import { glance, type GlanceJob, type Glances } from '../bytes/glance.js';
import { linkProven, type LinkJob, type Unlinked } from '../bytes/link.js';
import { scan, type ScanJob, type ScanResult } from '../bytes/scan.js';
import { readTreePart, type TreeJob, type TreePart } from '../bytes/tree.js';
import type { EncodeJob, EncodeResult } from '../codecs/encode.js';
import { compressPiece, type PieceJob, type PieceResult } from '../codecs/pieces.js';
import { unpack, type UnpackJob, type UnpackResult } from '../codecs/unpack.js';
import { errorOf, SMALL_LOT, SmallJobs } from './small-jobs.js';
import { takeThread } from './thread.js';
import type { Job, JobResult, Reply, Request, SmallResults } from './worker.js';

interface Task {
  readonly request: Request;
  /** Bytes that are still to be read, as far as is known. */
  left: number;
  readonly onBytes: ((count: number) => void) | undefined;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly tasks: Map<number, Task>;
}

/** Jobs this small cost less than a message of their own. */
const INLINE = 64 * 1024;
/** What may be hashed on the main thread before any worker is started: starting one takes as long. */
const INLINE_BUDGET = 8 * 1024 * 1024;
/** So many files are work for threads, which take their time to start. */
const MANY = 256;
/** One job at work and one waiting, so that a thread never waits for the main thread. */
const DEPTH = 2;
/** While a thread has more than this left, the next job waits for whichever thread is free first. */
const NEARLY_DONE = 4 * 1024 * 1024;

/** Local files are read without a wait: so many images take some hundredths of a second, after which to `breathe`. */
export const IMAGES_A_BREATH = 64;

/** Worker threads that hash, copy and deflate. Started when needed or announced, ended by `close`. */
export class Pool {
  readonly threads: number;
  readonly #helps: boolean;
  #workers: Thread[] = [];
  #queue: Task[] = [];
  readonly #small = new SmallJobs((jobs) => {
    this.expectRunning();
    return this.#run<SmallResults>({ kind: 'small', jobs });
  });
  #inline = INLINE_BUDGET;
  #announced = { files: 0, bytes: 0 };
  #next = 0;
  #closed: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** The scan that this thread is at. */
  #here: Promise<void> | undefined;
  #aborted: ImgconvError | undefined;
  #interrupt: (error: ImgconvError) => void = () => undefined;
  readonly #abort = new AbortController();
  /** Aborted by `abort`; for as many as want to hear of it. */
  readonly signal: AbortSignal = this.#abort.signal;
  /** Rejects when `abort` is called: to race with what may wait for ever. */
  readonly interrupted: Promise<never>;

  /** `helps`: the calling thread hashes and copies too, in place of one more worker. Not for one that answers requests. */
  constructor(threads = availableParallelism(), helps = true) {
    this.threads = threads;
    this.#helps = helps;
    setMaxListeners(0, this.signal);
    this.interrupted = new Promise((_, reject) => {
      this.#interrupt = reject;
    });
    this.interrupted.catch(() => undefined);
  }

  /** Says what is going to be asked for: threads that are worth it start now. */
  announce(sizes: readonly number[]): void {
    const all = this.#announced;
    all.files += sizes.length;
    all.bytes += sizes.reduce((sum, size) => sum + size, 0);
    if (!this.#hasMany && all.bytes <= INLINE_BUDGET) return;
    // Few large files: the last thread starts when there is more to do than hashing.
    const wanted = this.#hasMany ? this.threads : Math.max(1, this.threads - 1);
    while (this.#workers.length < wanted) this.#start();
  }

  get #hasMany(): boolean {
    return this.#announced.files >= MANY;
  }

  /** Settles with the job's result; `onBytes` hears of bytes as they are read. */
  async scan(job: ScanJob, onBytes?: (count: number) => void): Promise<ScanResult> {
    this.expectRunning();
    const { size } = job.from;
    if (size <= INLINE && this.#hasMany) {
      const result = await this.#small.add<ScanResult>(job);
      onBytes?.(size);
      return result;
    }
    if (size <= INLINE || size <= this.#inline) {
      if (size > INLINE) this.#inline -= size;
      return scan(job, onBytes);
    }
    return this.#run(job, onBytes);
  }

  /** Settles with the system's answer when no link could be made. */
  async link(job: LinkJob): Promise<Unlinked | undefined> {
    this.expectRunning();
    return this.#hasMany ? this.#small.add(job) : linkProven(job);
  }

  /** As `scan`, for a compressed region. */
  async unpack(job: UnpackJob, onBytes?: (count: number) => void): Promise<UnpackResult> {
    this.expectRunning();
    if (job.from.size <= INLINE) return unpack(job, onBytes);
    return this.#run(job, onBytes);
  }

  /** The piece's memory is the job's until it is done. */
  async compress(job: PieceJob): Promise<PieceResult> {
    this.expectRunning();
    if (job.length <= INLINE) return compressPiece(job);
    return this.#run(job);
  }

  async glance(job: GlanceJob): Promise<Glances> {
    this.expectRunning();
    return job.files.length < SMALL_LOT ? glance(job) : this.#run(job);
  }

  async tree(job: TreeJob): Promise<TreePart> {
    this.expectRunning();
    return job.most <= SMALL_LOT ? readTreePart(job) : this.#run(job);
  }

  /** As `scan`: a layer compressed as a program does it. Only threads have what makes it. */
  async encode(job: EncodeJob, onBytes?: (count: number) => void): Promise<EncodeResult> {
    this.expectRunning();
    return this.#run(job, onBytes);
  }

  /** Unlike the others, this is never done by the caller's own thread. */
  async assemble(job: AssembleJob): Promise<void> {
    this.expectRunning();
    await this.#run(job);
  }

  #run<T extends JobResult>(job: Job, onBytes?: (count: number) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const left = 'from' in job ? job.from.size : 0;
      this.#queue.push({ request: { id: this.#next++, job }, left, onBytes, resolve, reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    if (this.#isClosed) return;
    for (let task = this.#queue[0]; task !== undefined; task = this.#queue[0]) {
      let thread = this.#workers.reduce<Thread | undefined>(
        (best, one) => (best === undefined || isFreeSooner(one, best) ? one : best),
        undefined,
      );
      if ((thread === undefined || thread.tasks.size > 0) && this.#workers.length < this.threads) {
        const scanned = this.#asForHere(task.request.job);
        if (scanned === undefined) thread = this.#start();
        else if (this.#here === undefined) {
          this.#queue.shift();
          this.#here = this.#scanHere(scanned, task);
          continue;
        }
      }
      if (thread === undefined || !hasRoom(thread)) return;
      this.#queue.shift();
      thread.tasks.set(task.request.id, task);
      thread.worker.postMessage(task.request);
    }
  }

  /** What this thread does in the place of the last one, which would take as long to start as 80 MB take to be hashed. */
  #asForHere(job: Job): ScanJob | undefined {
    const isLast = this.#helps && this.threads > 1 && this.#workers.length === this.threads - 1;
    return isLast && job.kind === 'scan' ? job : undefined;
  }

  async #scanHere(job: ScanJob, { onBytes, resolve, reject }: Task): Promise<void> {
    try {
      resolve((await scan(job, onBytes, () => this.breathe())) as never);
    } catch (error) {
      reject(error);
    } finally {
      this.#here = undefined;
      this.#dispatch();
    }
  }

  #start(): Thread {
    const worker = takeThread();
    const thread: Thread = { worker, tasks: new Map() };
    worker.on('message', (reply: Reply) => {
      const task = thread.tasks.get(reply.id);
      if (task === undefined) return;
      if ('bytes' in reply) {
        task.left -= reply.bytes;
        task.onBytes?.(reply.bytes);
      } else {
        thread.tasks.delete(reply.id);
        if ('error' in reply) task.reject(errorOf(reply.error));
        else task.resolve(reply.result as never);
      }
      this.#dispatch();
    });
    worker.on('error', (error) => {
      this.#workers = this.#workers.filter((one) => one !== thread);
      for (const task of thread.tasks.values()) task.reject(asImgconvError(error));
      thread.tasks.clear();
      this.#dispatch();
    });
    this.#workers.push(thread);
    return thread;
  }

  /** For work that is not the pool's own. @throws ImgconvError what `abort` was given, or INTERRUPTED after `close` */
  expectRunning(): void {
    if (this.#aborted !== undefined) throw this.#aborted;
    if (this.#isClosed) throw closed();
  }

  /** Lets signals, timers and messages have their turn. @throws as `expectRunning` */
  async breathe(): Promise<void> {
    await new Promise(setImmediate);
    this.expectRunning();
  }

  /** Ends all work at once: what is under way, and all that is asked for later, fails with `error`. */
  abort(error: ImgconvError): void {
    this.#aborted = error;
    this.#interrupt(error);
    this.#abort.abort(error);
    const begun = this.#workers.flatMap(({ tasks }) => [...tasks.values()]);
    for (const task of [...this.#queue.splice(0), ...begun]) task.reject(error);
    this.#small.close(error);
    void this.close();
  }

  /** No thread is at work any more when this resolves. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { reject } of this.#queue.splice(0)) reject(closed());
    this.#small.close(closed());
    const ended = this.#workers.splice(0).map(({ worker }) => worker.terminate());
    this.#closed = Promise.all([this.#closed, this.#here, ...ended]);
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function leftOf({ tasks }: Thread): number {
  let sum = 0;
  for (const { left } of tasks.values()) sum += Math.max(0, left);
  return sum;
}

function isFreeSooner(one: Thread, other: Thread): boolean {
  const [own, its] = [leftOf(one), leftOf(other)];
  return own === its ? one.tasks.size < other.tasks.size : own < its;
}

function hasRoom(thread: Thread): boolean {
  return thread.tasks.size === 0 || (thread.tasks.size < DEPTH && leftOf(thread) <= NEARLY_DONE);
}

function closed(): ImgconvError {
  return new ImgconvError('INTERRUPTED', 'no more work is done');
}
