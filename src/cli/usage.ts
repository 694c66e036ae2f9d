import { ImgconvError } from '../model/errors.js';
import { nearest } from '../model/nearest.js';
import { DASHED_VALUE, GLOBAL_OPTIONS, splitDashes, type OptionTable, type Syntax } from './syntax.js';

/** What skopeo, docker and others call it. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  arch: 'platform',
  username: 'creds',
  password: 'creds',
  'all-platforms': 'all',
  'dest-compress': 'compression',
  'dest-compress-format': 'compression',
  'dest-compress-level': 'compression-level',
  'dest-force-compress-format': 'recompress',
  'dest-decompress': 'layers',
  uncompressed: 'layers',
  level: 'compression-level',
  threads: 'jobs',
  parallel: 'jobs',
  name: 'tag',
  'keep-going': 'fail-fast',
  verbose: 'debug',
  silent: 'quiet',
};

/** Options of skopeo for what imgconv does not do. */
const NEVER: Readonly<Record<string, string>> = {
  format: 'imgconv keeps manifests as they are, whatever their format',
  'sign-by': 'imgconv carries signatures and makes none: cosign or skopeo sign',
  'sign-by-sigstore-private-key': 'imgconv carries signatures and makes none: cosign or skopeo sign',
  'encryption-key': 'imgconv carries encrypted images and encrypts none: skopeo copy does',
  'decryption-key': 'imgconv carries encrypted images and decrypts none: skopeo copy does',
  policy: 'imgconv has no signature policies: skopeo copy has',
};

/**
 * The command of a command line; undefined if it names none.
 * @throws ImgconvError USAGE for a command or an option that is not known, with the nearest that is
 */
export function expectKnownWords<T extends Syntax>(
  args: readonly string[],
  commands: readonly T[],
): T | undefined {
  const name = args.find((arg) => !arg.startsWith('-'));
  const command = commands.find((one) => one.name === name);
  if (name !== undefined && command === undefined) {
    const near = nearest(
      name,
      commands.map((one) => one.name),
    );
    const hint = 'imgconv --help lists commands';
    throw usage(`${name}: no such command`, near === undefined ? hint : `did you mean ${near}? ${hint}`);
  }
  const options = { ...GLOBAL_OPTIONS, ...command?.options };
  for (const [i, arg] of splitDashes(args)[0].entries()) {
    if (/^-[^-\d.]/.test(arg) && args[i - 1] !== DASHED_VALUE) expectKnownLetters(arg, command, options);
    const [, said, value] = /^--([^=]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (said === undefined) continue;
    const positive = said.replace(/^no-/, '');
    // yargs takes any value but `true` for no: `--dry-run=yes` would not be a dry run.
    if (options[positive]?.type === 'boolean') {
      const { choices = [] } = options[positive];
      if (value === undefined || ['true', 'false', ...choices].includes(value)) continue;
      const values = choices.length === 0 ? 'neither true nor false' : `not ${choices.join(' or ')}`;
      const near = nearest(value, choices);
      throw usage(
        `--${positive}=${value}: ${values}`,
        `did you mean --${positive}${near === undefined ? '' : `=${near}`}?`,
      );
    }
    if (Object.hasOwn(options, said) || said === 'help' || said === 'version') continue;
    throw unknownOption(said, command, options);
  }
  return command;
}

/** Of `-abc`, up to a letter whose option takes the rest as its value. @throws ImgconvError USAGE */
function expectKnownLetters(arg: string, command: Syntax | undefined, options: OptionTable): void {
  for (const letter of arg.slice(1)) {
    if (letter === 'h' || letter === '=') return;
    const option = Object.values(options).find(({ alias }) => alias === letter);
    const name = command === undefined ? '' : `${command.name} `;
    if (option === undefined)
      throw usage(
        `-${/^-[a-z]+$/i.test(arg) ? letter : arg.slice(1).replace(/=.*$/s, '')}: ${name === '' ? 'imgconv ' : name}has no such option`,
        `imgconv ${name}--help lists the options`,
      );
    if (option.type !== 'boolean') return;
  }
}

function unknownOption(said: string, command: Syntax | undefined, options: OptionTable): ImgconvError {
  const shown = Object.keys(options).filter((name) => options[name]?.hidden !== true);
  const elsewhere = Object.hasOwn(ELSEWHERE, said) ? ELSEWHERE[said] : undefined;
  if (Object.hasOwn(NEVER, said)) return usage(`--${said}: ${NEVER[said] ?? ''}`, helpOf(command));
  const near =
    elsewhere !== undefined && shown.includes(elsewhere.replace(/^no-/, ''))
      ? elsewhere
      : (nearest(said, shown) ?? nearest(said.replace(/^no-/, ''), shown));
  const name = command === undefined ? '' : `${command.name} `;
  return usage(
    `--${said}: ${name === '' ? 'imgconv ' : name}has no such option`,
    `${near === undefined ? '' : `did you mean --${near}? `}imgconv ${name}--help lists the options`,
  );
}

/** The hint that names the help of a command, or of all. */
export function helpOf(command: Syntax | undefined): string {
  return command === undefined
    ? 'imgconv --help lists commands and options'
    : `imgconv ${command.name} --help lists options`;
}

export function usage(what: string, hint: string): ImgconvError {
  return new ImgconvError('USAGE', what, { hint });
}
