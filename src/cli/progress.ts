import type { WriteStream } from 'node:tty';
import type { Retry } from '../bytes/retry.js';
import type { RegistryAccess, Waiting } from '../formats/access.js';
import { sizeText } from '../model/size.js';
import { printable } from './exit.js';

/** A bar is drawn so often. */
const DRAW_EVERY_MS = 200;
/** Where there is no terminal: a line for each tenth of the whole, and so often without one; never more often than this. */
const STEP = 0.1;
const LINE_EVERY_MS = 30_000;
const LEAST_MS = 5000;
/** The rate is that of the last seconds. */
const RATE_OVER_MS = 10_000;
/** What clears a line of a terminal. */
const CLEAR = '\r\x1b[2K';
const BAR = 20;
/** Many requests to one host fail together: the same is said once in this time. */
const SAME_MS = 1000;

/** How far a command is, for people: a bar on a terminal, a line now and then elsewhere, nothing when quiet. */
export class ProgressDisplay {
  readonly #stream: WriteStream;
  readonly #quiet: boolean;
  /** Images at hand, the longest first. */
  readonly active = new Set<string>();
  readonly #said = new Map<string, number>();
  /** Times and what was done until then, the oldest first. */
  #marks: { readonly at: number; readonly done: number }[];
  /** All bytes that there are to read, if that is known, and those that were read. */
  total: number | undefined;
  done = 0;
  #saidAt = Date.now();
  #saidDone = 0;
  #timer: NodeJS.Timeout | undefined;
  #isDrawn = false;

  /** `quiet`: says nothing at all; `shown`: says how far it is, besides retries. */
  constructor(stream: WriteStream, { quiet, shown }: { readonly quiet: boolean; readonly shown: boolean }) {
    this.#stream = stream;
    this.#quiet = quiet;
    this.#marks = [{ at: Date.now(), done: 0 }];
    if (!shown) return;
    this.#timer = setInterval(
      () => {
        this.#tick();
      },
      stream.isTTY ? DRAW_EVERY_MS : 1000,
    ).unref();
  }

  bytes(count: number): void {
    this.done += count;
  }

  started(name: string): void {
    this.active.add(name);
  }

  ended(name: string): void {
    this.active.delete(name);
  }

  retry({ error, retry, of, seconds }: Retry): void {
    const wait = seconds < 10 ? seconds.toFixed(1) : String(Math.round(seconds));
    const text = `retrying in ${wait} s (${retry} of ${of}): ${error.message}`;
    this.#say(text, `${retry} ${hostIn(error.message)}`);
  }

  waiting({ host, seconds }: Waiting): void {
    this.#say(`waiting for ${host} (no answer for ${seconds} s)`, `waiting ${host}`);
  }

  #say(text: string, what: string): void {
    if (this.#quiet) return;
    const now = Date.now();
    if (now - (this.#said.get(what) ?? 0) < SAME_MS) return;
    this.#said.set(what, now);
    this.print(this.#stream, `imgconv: ${printable(text)}\n`);
  }

  /** Writes whole lines, above the bar if there is one. */
  print(stream: NodeJS.WritableStream, text: string): void {
    this.#clear();
    stream.write(text);
  }

  #clear(): void {
    if (this.#isDrawn) this.#stream.write(CLEAR);
    this.#isDrawn = false;
  }

  #tick(): void {
    const now = Date.now();
    if (this.#stream.isTTY) {
      this.#stream.write(`${CLEAR}${this.#text(now, this.#stream.columns || 80)}`);
      this.#isDrawn = true;
    } else if (this.#isDue(now)) {
      this.#stream.write(`${this.#text(now)}\n`);
      this.#saidAt = now;
      this.#saidDone = this.done;
    }
  }

  #isDue(now: number): boolean {
    const since = now - this.#saidAt;
    if (since < LEAST_MS || this.done === 0) return false;
    const step = this.total === undefined ? Infinity : this.total * STEP;
    return since >= LINE_EVERY_MS || (this.done < (this.total ?? 0) && this.done - this.#saidDone >= step);
  }

  /** The rate of the last seconds, in bytes a second. */
  #rate(now: number): number {
    const last = this.#marks.at(-1);
    if (last === undefined || now - last.at >= 1000) this.#marks.push({ at: now, done: this.done });
    while (this.#marks.length > 1 && now - (this.#marks[1]?.at ?? now) >= RATE_OVER_MS) this.#marks.shift();
    const [first] = this.#marks;
    const ms = now - (first?.at ?? now);
    return ms < 500 ? 0 : ((this.done - (first?.done ?? 0)) * 1000) / ms;
  }

  /** `columns`: of the terminal on which a bar is drawn. */
  #text(now: number, columns?: number): string {
    const rate = this.#rate(now);
    // Blobs that are there already, or are read twice, make the total a good guess.
    const total = this.total === undefined ? undefined : Math.max(this.total, this.done);
    const share = total === undefined || total === 0 ? undefined : this.done / total;
    const parts = [
      total === undefined
        ? `${sizeText(this.done)} read`
        : `${sizeText(this.done)} of ${sizeText(total)} (${Math.floor((share ?? 1) * 100)}%)`,
      ...(rate > 0 ? [`${sizeText(Math.round(rate))}/s`] : []),
      ...(rate > 0 && total !== undefined && total > this.done
        ? [`${durationText((total - this.done) / rate)} left`]
        : []),
    ];
    const [first] = this.active;
    const more = this.active.size > 1 ? ` and ${this.active.size - 1} more` : '';
    const text = `${parts.join(', ')}${first === undefined ? '' : `: ${printable(first)}${more}`}`;
    if (columns === undefined) return text;
    const filled = Math.round((share ?? 0) * BAR);
    const bar = share === undefined ? '' : `[${'#'.repeat(filled)}${' '.repeat(BAR - filled)}] `;
    return `${bar}${text}`.slice(0, Math.max(columns - 1, 1));
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#clear();
  }
}

/** Says on stderr what happens on the way to registries, for commands that show no progress. */
export function saidOnStderr(): Pick<RegistryAccess, 'onRetry' | 'onWaiting'> {
  const display = new ProgressDisplay(process.stderr, { quiet: false, shown: false });
  return {
    onRetry: (retry) => {
      display.retry(retry);
    },
    onWaiting: (waiting) => {
      display.waiting(waiting);
    },
  };
}

/** The host in a message about a request, or the message. */
function hostIn(message: string): string {
  return /^https?:\/\/[^/]+/.exec(message)?.[0] ?? message;
}

function durationText(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`;
  const minutes = Math.ceil(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
