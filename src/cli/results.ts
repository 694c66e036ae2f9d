import type { ImgconvError } from '../model/errors.js';
import type { Progress } from '../transfer/options.js';
import type { ImageReport, Plan, Report } from '../transfer/report.js';
import { Events } from './events.js';
import { errorDocument, errorJson, printableJson } from './exit.js';
import type { ProgressDisplay } from './progress.js';
import { imageJson, imageLine, planText, reportJson, reportText, summaryJson } from './report-text.js';

/** How results are printed: as text, not at all, as one JSON document (`--json`), or as JSON events (`--json=lines`). */
export type ResultsMode = 'text' | 'none' | 'document' | 'lines';

export function resultsMode(json: boolean | 'lines' | undefined, quiet = false): ResultsMode {
  if (json === 'lines') return 'lines';
  return json === true ? 'document' : quiet ? 'none' : 'text';
}

/** Prints what becomes of images as they are finished, and the summary at the end. */
export class Results implements Progress {
  readonly #display: ProgressDisplay;
  readonly #events: Events;
  readonly #mode: ResultsMode;
  /** What failed before it is known that the source is what it is said to be; undefined from then on. */
  #held: ImageReport[] | undefined = [];

  constructor(display: ProgressDisplay, out: NodeJS.WritableStream, mode: ResultsMode) {
    this.#display = display;
    this.#events = new Events(display, out);
    this.#mode = mode;
    if (mode === 'lines') this.#events.start();
  }

  readonly planned = (plan: Plan): void => {
    const { images, link, copy, fetch, compress, present, upload } = plan;
    const read = [link, copy, fetch, compress, upload, ...(plan.toRegistry ? [] : [present])];
    this.#display.total = read.reduce((sum, { bytes }) => sum + bytes, 0);
    if (this.#mode === 'lines') this.#events.add('plan', plan);
    if (images > 0) this.#release();
  };

  readonly bytes = (count: number): void => {
    this.#display.bytes(count);
  };

  readonly started = (name: string): void => {
    this.#display.started(name);
  };

  readonly ended = (name: string): void => {
    this.#display.ended(name);
  };

  readonly retry: NonNullable<Progress['retry']> = (retry) => {
    this.#display.retry(retry);
    if (this.#mode === 'lines') this.#events.retry(retry);
  };

  readonly waiting: NonNullable<Progress['waiting']> = (waiting) => {
    this.#display.waiting(waiting);
    if (this.#mode === 'lines') this.#events.add('waiting', waiting);
  };

  readonly image = (image: ImageReport): void => {
    if (this.#held !== undefined) this.#held.push(image);
    else if (this.#mode === 'lines') this.#events.add('image', imageJson(image));
    else if (this.#mode === 'text') this.#events.write(imageLine(image));
  };

  #release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const image of held) this.image(image);
  }

  /** Nothing is under way any more. */
  stop(): void {
    this.#events.stop();
    this.#display.stop();
  }

  /** Prints the report, without what was printed already. */
  report(report: Report, dryRun: boolean): void {
    this.#release();
    if (this.#mode === 'lines') this.#events.add('summary', summaryJson(report));
    if (this.#mode === 'document') this.#events.write(`${printableJson(reportJson(report), 2)}\n`);
    if (this.#mode === 'text')
      this.#events.write(
        dryRun && report.plan !== undefined ? planText(report, report.plan) : reportText(report),
      );
    this.#events.flush();
  }

  /** Prints the error of the whole command for programs; people read it on stderr. */
  error(error: ImgconvError): void {
    if (this.#mode === 'lines') this.#events.add('error', { error: errorJson(error) });
    if (this.#mode === 'document') this.#events.write(errorDocument(error));
    this.#events.flush();
  }
}
