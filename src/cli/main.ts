import { asImgconvError } from '../model/errors.js';
import { speakAsCommand } from '../model/voice.js';
import { asksHelp, parseArguments } from './command-line.js';
import { COMMANDS } from './commands.js';
import { errorDocument, errorText, EXIT } from './exit.js';
import { splitDashes } from './syntax.js';
import { expectKnownWords, helpOf, usage } from './usage.js';

/** Runs a command line. Settles with the exit status, never rejects. */
async function run(words: readonly string[], version: string): Promise<number> {
  // `help` is `--help`, before a command too.
  const args = words[0] === 'help' ? [...words.slice(1), '--help'] : words;
  try {
    const [word] = args;
    if (words[0] === 'help' && word !== undefined && !word.startsWith('-')) {
      const { topicHelp } = await import('./topic-help.js');
      const text = await topicHelp(word, COMMANDS);
      if (text !== undefined) {
        process.stdout.write(`${text}\n`);
        return 0;
      }
    }
    const command = expectKnownWords(args, COMMANDS);
    if (asksHelp(args)) {
      const { helpText } = await import('./help.js');
      process.stdout.write(`${await helpText(COMMANDS, command)}\n`);
      return 0;
    }
    if (splitDashes(args)[0].includes('--version')) {
      process.stdout.write(`${version}\n`);
      return 0;
    }
    if (command === undefined) {
      if (args.length > 0) throw usage('say what to do: a command is missing', helpOf(command));
      const { helpText } = await import('./help.js');
      process.stderr.write(`${await helpText(COMMANDS, undefined)}\n`);
      return EXIT.USAGE;
    }
    return await command.run(parseArguments(args, command) as never, { version, commands: COMMANDS });
  } catch (error) {
    const known = asImgconvError(error);
    const json = splitDashes(args)[0].find((arg) => /^--json(?:=(?!false$).*)?$/.test(arg));
    if (json !== undefined) process.stdout.write(errorDocument(known, json === '--json=lines'));
    process.stderr.write(`imgconv: ${errorText(known, args.includes('--debug'))}`);
    return EXIT[known.code];
  }
}

/**
 * Runs a command line and gives its exit status: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted.
 * Formats and the rest are loaded when a command needs them.
 */
export async function main(args: readonly string[], version: string): Promise<number> {
  speakAsCommand();
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
