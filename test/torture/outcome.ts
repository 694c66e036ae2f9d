import type { Plan } from './plan.js';

/** What came of one run of the command. */
export interface Outcome {
  /** Undefined when a signal ended it. */
  readonly status: number | undefined;
  readonly stdout: Buffer;
  readonly stderr: string;
  /** How many operations the plan could have meant; unknown of a process that was killed. */
  readonly count: number | undefined;
  /** The operation that was struck. */
  readonly fired: string | undefined;
  /** Errors that nobody caught. */
  readonly uncaught: readonly string[];
}

/** Hears of every problem as soon as it is found: a long run may be stopped before its end. */
export type Found = (problem: string) => void;

export interface Disturbance {
  readonly plan?: Plan | undefined;
  /** SIGKILL after so many milliseconds. */
  readonly killAfter?: number | undefined;
}

/** Runs a command line; `stdin` is a file that comes through the pipe. */
export type Run = (args: readonly string[], stdin: string | undefined, how?: Disturbance) => Promise<Outcome>;
