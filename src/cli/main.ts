import { readFileSync } from 'node:fs';

/**
 * Runs a command line and gives its exit status: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted.
 * Parser, formats and the rest are loaded when a command needs them. `manifest` is the package.json.
 */
export async function main(args: readonly string[], manifest: URL): Promise<number> {
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  if (args[0] === '--version' && args.length === 1) {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  let failure: NodeJS.ErrnoException | undefined;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough, such as `head`, is no failure of ours.
    if (error.code !== 'EPIPE') failure ??= error;
  });
  const { run } = await import('./commands.js');
  let status = await run(args, version);
  await new Promise(setImmediate); // What went wrong with the last words comes after them.
  if (failure !== undefined && status === 0) {
    const [{ errorText, EXIT }, { asImgconvError }] = await Promise.all([
      import('./exit.js'),
      import('../model/errors.js'),
    ]);
    const error = asImgconvError(failure, 'stdout');
    process.stderr.write(`imgconv: ${errorText(error, args.includes('--debug'))}`);
    status = EXIT[error.code];
  }
  // A signal does not wait for a reader that does not read.
  if (status > 128) process.exit(status);
  return status;
}
