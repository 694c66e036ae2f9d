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
  // A reader that has seen enough, such as `head`, is no failure of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  const { run } = await import('./commands.js');
  const status = await run(args, version);
  // A signal does not wait for a reader that does not read.
  if (status > 128) process.exit(status);
  return status;
}
