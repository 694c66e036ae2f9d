import type { WriteStream } from 'node:tty';
import type { Plan } from '../transfer/report.js';
import type { Progress } from '../transfer/options.js';
import { sizeText } from './quantity.js';

export interface RunningProgress extends Progress {
  stop(): void;
}

/** A line so often where there is no terminal to draw on. */
const LINE_EVERY_MS = 10_000;

/** A bar on a terminal, a line now and then elsewhere, nothing when quiet. */
export function startProgress(stream: WriteStream, quiet: boolean): RunningProgress {
  if (quiet) return { stop: () => undefined };
  let total = 0;
  let done = 0;
  let said = Date.now();
  let bar: { update(value: number): void; stop(): void } | undefined;
  return {
    planned(plan: Plan) {
      total = plan.link.bytes + plan.copy.bytes + plan.fetch.bytes + plan.compress.bytes + plan.present.bytes;
      if (!stream.isTTY) return;
      void import('cli-progress').then(({ default: { SingleBar } }) => {
        const format = (bytes: number) => sizeText(bytes);
        const made = new SingleBar({
          stream,
          format: `{bar} {percentage}% {value} of {total}, {eta_formatted} left`,
          formatValue: (value, _, type) =>
            type === 'value' || type === 'total' ? format(value) : String(value),
          hideCursor: true,
          clearOnComplete: true,
        });
        made.start(total, done);
        bar = made;
      });
    },
    bytes(count: number) {
      done = Math.min(done + count, total);
      bar?.update(done);
      if (stream.isTTY || Date.now() - said < LINE_EVERY_MS) return;
      said = Date.now();
      stream.write(`${sizeText(done)} of ${sizeText(total)} read\n`);
    },
    stop() {
      bar?.stop();
    },
  };
}
