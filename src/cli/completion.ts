import { FORMATS, prefixOf } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import type { Command } from './syntax.js';
import { GLOBAL_OPTIONS, type Option, type OptionTable } from './syntax.js';

export interface CompletionArguments {
  readonly SHELL: string;
}

const SHELLS = ['bash', 'zsh', 'fish'];

/** @throws ImgconvError USAGE */
export function expectShell(shell: string): void {
  if (SHELLS.includes(shell)) return;
  throw new ImgconvError('USAGE', `${shell}: not one of ${SHELLS.join(', ')}`, {
    hint: 'for example: source <(imgconv completion bash)',
  });
}

/** A script that teaches a shell the commands, options and choices of this version. */
export function completionText(shell: string, commands: readonly Command[]): string {
  if (shell === 'fish') return fishText(commands);
  return shell === 'zsh' ? zshText(commands) : bashText(commands);
}

function optionsOf({ options }: Command): readonly (readonly [string, Option])[] {
  const all: OptionTable = {
    ...options,
    ...GLOBAL_OPTIONS,
    help: { type: 'boolean', describe: 'show help' },
  };
  return Object.entries(all).filter(([, option]) => option.hidden !== true);
}

function written([name, { shown = name }]: readonly [string, Option]): string {
  return `--${shown}`;
}

/** Options that take one of some words, each once. */
function choicesOf(commands: readonly Command[]): ReadonlyMap<string, readonly string[]> {
  return new Map(
    commands.flatMap((command) =>
      optionsOf(command).flatMap(([name, { choices, type }]) =>
        choices === undefined || type === 'boolean' ? [] : [[`--${name}`, choices] as const],
      ),
    ),
  );
}

const PREFIXES = FORMATS.map(prefixOf).join(' ');

/** The branches of a `case` over commands, or over options with choices. */
function cases(entries: Iterable<readonly [string, string]>): string {
  return [...entries].map(([word, action]) => `    ${word}) ${action} ;;`).join('\n');
}

function bashText(commands: readonly Command[]): string {
  const names = commands.map(({ name }) => name).join(' ');
  const options = commands.map(
    (one) => [one.name, `words="${optionsOf(one).map(written).join(' ')}"`] as const,
  );
  const choices = [...choicesOf(commands)].map(
    ([name, some]) => [name, `words="${some.join(' ')}"`] as const,
  );
  return `# imgconv completion for bash: source <(imgconv completion bash)
_imgconv() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} words=
  COMPREPLY=()
  if [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if [[ $cur == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-1]} cur=; fi
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${names}" -- "$cur"))
    return
  fi
  case "$prev" in
${cases(choices)}
  esac
  if [[ -n $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    return
  fi
  if [[ $cur == -* ]]; then
    case "\${COMP_WORDS[1]}" in
${cases(options)}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
    completion) COMPREPLY=($(compgen -W "${SHELLS.join(' ')}" -- "$cur")); return ;;
    help) COMPREPLY=($(compgen -W "${names}" -- "$cur")); return ;;
  esac
  mapfile -t COMPREPLY < <(compgen -f -- "$cur"; compgen -W "${PREFIXES}" -- "$cur")
  compopt -o filenames -o nospace
}
complete -F _imgconv imgconv
`;
}

function zshText(commands: readonly Command[]): string {
  const names = commands.map(({ name }) => name).join(' ');
  const options = commands.map(
    (one) => [one.name, `compadd -- ${optionsOf(one).map(written).join(' ')}`] as const,
  );
  const choices = [...choicesOf(commands)].map(
    ([name, some]) => [name, `compadd -- ${some.join(' ')}; return`] as const,
  );
  return `#compdef imgconv
# imgconv completion for zsh: source <(imgconv completion zsh), after compinit
_imgconv() {
  if ((CURRENT == 2)); then
    compadd -- ${names}
    return
  fi
  case "\${words[CURRENT-1]}" in
${cases(choices)}
  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then
    case "\${words[2]}" in
${cases(options)}
    esac
    return
  fi
  compadd -S '' -- ${PREFIXES}
  _files
}
compdef _imgconv imgconv
`;
}

function fishText(commands: readonly Command[]): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = commands.flatMap((command) => {
    const { name, describe } = command;
    const seen = quote(`__fish_seen_subcommand_from ${name}`);
    return [
      `complete -c imgconv -n __fish_use_subcommand -f -a ${name} -d ${quote(describe)}`,
      ...optionsOf(command).map(([option, { shown = option, alias, type, choices, describe: what }]) => {
        const [long = '', value] = shown.split('=');
        const short = alias === undefined ? '' : ` -s ${alias}`;
        const takes =
          type === 'boolean' ? '' : choices === undefined ? ' -r' : ` -x -a ${quote(choices.join(' '))}`;
        return `complete -c imgconv -n ${seen} -l ${value === undefined ? long : quote(shown)}${short}${takes} -d ${quote(what)}`;
      }),
    ];
  });
  return `# imgconv completion for fish: imgconv completion fish | source\n${lines.join('\n')}\n`;
}
