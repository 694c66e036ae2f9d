/**
 * Stands in for `assert` in the bundled command: yargs uses two of its functions to check itself, and Node's own
 * looks at once whether stderr is a terminal that has colours.
 */
export function strictEqual(actual: unknown, expected: unknown, message: string): void {
  if (!Object.is(actual, expected)) throw new Error(message);
}

export function notStrictEqual(actual: unknown, expected: unknown, message: string): void {
  if (Object.is(actual, expected)) throw new Error(message);
}
