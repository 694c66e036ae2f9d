/**
 * An option, in yargs' words. One that is not `boolean` takes a value. A `boolean` one with `choices` may have one of them
 * after a `=`: `--json`, `--json=lines`; its value in arguments is true, false or the choice.
 */
export interface Option {
  readonly describe: string;
  /** Heading in help under which it stands. */
  readonly group?: string;
  readonly type?: 'boolean' | 'string';
  /** How help writes it, if not by its name: `no-extras`. */
  readonly shown?: string;
  /** Placeholder in help for its value, such as `n` or `file`. */
  readonly value?: string;
  readonly choices?: readonly string[];
  /** May be given several times; its value is a list. */
  readonly repeatable?: boolean;
  readonly alias?: string;
  readonly default?: boolean;
  readonly hidden?: boolean;
}

/** Options by name. */
export type OptionTable = Readonly<Record<string, Option>>;

/** How a command is written. */
export interface Syntax {
  readonly name: string;
  /** yargs' notation: `<needed>`, `[optional]`, `[many..]`. */
  readonly operands: string;
  /** How help writes the operands, where that says more. */
  readonly shownOperands?: string;
  /** One command line. */
  readonly example?: string;
  readonly options: OptionTable;
}

/** What a command may have to know besides its own arguments. */
export interface CommandContext {
  /** Of imgconv. */
  readonly version: string;
  readonly commands: readonly Command[];
}

/** Options and code are loaded when they are asked for: of thirty commands one is run. */
export interface Command extends Syntax {
  /** What it does, as one sentence without its full stop. */
  readonly describe: string;
  /** One command line. */
  readonly example: string;
  /** Takes what `parseArguments` gives for its options and operands; gives the exit status. */
  run(args: never, context: CommandContext): Promise<number>;
}

export const FLAG = { type: 'boolean' } as const;
/** How results are printed for programs. */
export const JSON_FLAG = { type: 'boolean', choices: ['lines'] } as const;
export const VALUE = { type: 'string' } as const;
export const REPEATABLE = { type: 'string', repeatable: true } as const;

/** The same options under one heading of help. */
export function grouped<T extends OptionTable>(group: string, options: T): T {
  return Object.fromEntries(
    Object.entries(options).map(([name, option]) => [name, { ...option, group }]),
  ) as OptionTable as T;
}

/** Options of every command. */
export const GLOBAL_OPTIONS: OptionTable = {
  debug: { ...FLAG, describe: 'show the stack trace of an error, and its causes' },
};

/** The only option whose value usually begins with a dash: skopeo's manual writes `--append-suffix '-mirror'`. */
export const DASHED_VALUE = '--append-suffix';

/** The words before a `--`, and those after it. */
export function splitDashes(args: readonly string[]): readonly [string[], string[]] {
  const end = args.indexOf('--');
  return end < 0 ? [[...args], []] : [args.slice(0, end), args.slice(end + 1)];
}

/** The name of an option as arguments have it. */
export function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
