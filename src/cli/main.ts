import { asImgconvError } from '../model/errors.js';
import { run } from './commands.js';
import { errorText, EXIT } from './exit.js';

/**
 * Runs a command line and gives its exit status: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted.
 * Formats and the rest are loaded when a command needs them.
 */
export async function main(args: readonly string[], version: string): Promise<number> {
  let failure: NodeJS.ErrnoException | undefined;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough, such as `head`, is no failure of ours.
    if (error.code !== 'EPIPE') failure ??= error;
  });
  let status = await run(args, version);
  await new Promise(setImmediate); // What went wrong with the last words comes after them.
  if (failure !== undefined && status === 0) {
    const error = asImgconvError(failure, 'stdout');
    process.stderr.write(`imgconv: ${errorText(error, args.includes('--debug'))}`);
    status = EXIT[error.code];
  }
  // A signal does not wait for a reader that does not read.
  if (status > 128) process.exit(status);
  return status;
}
