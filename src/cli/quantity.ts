import { ImgconvError } from '../model/errors.js';

/** A whole number of an option. @throws ImgconvError USAGE */
export function parseCount(
  option: string,
  text: string | undefined,
  max: number,
  min = 1,
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && value >= min && value <= max) return value;
  throw new ImgconvError('USAGE', `--${option} ${text}: not a number from ${min} to ${max}`);
}

const MILLISECONDS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * `500ms`, `90m`, `1.5h`, `7d` or `0`, in milliseconds. `unit` is that of a bare number, which is refused without it.
 * @throws ImgconvError USAGE
 */
export function parseDuration(
  option: string,
  text: string | undefined,
  { unit: bare = '', such }: { readonly unit?: string; readonly such: string },
): number | undefined {
  if (text === undefined) return undefined;
  const [, number = '', unit = ''] = /^(\d{1,6}(?:\.\d+)?)([a-z]*)$/.exec(text === '0' ? '0s' : text) ?? [];
  const factor = MILLISECONDS[unit === '' ? bare : unit];
  if (factor !== undefined) return Number(number) * factor;
  throw new ImgconvError('USAGE', `--${option} ${text}: not a time`, {
    hint: `give a number with ms, s, m, h or d, such as ${such}`,
  });
}

const BYTES: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/** `500M`, `20G`, in bytes. @throws ImgconvError USAGE */
export function parseSize(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, number = '', unit = ''] = /^(\d{1,6}(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text) ?? [];
  const factor = BYTES[unit.toUpperCase()];
  if (number !== '' && factor !== undefined && Number(number) > 0) return Math.floor(Number(number) * factor);
  throw new ImgconvError('USAGE', `--${option} ${text}: not a size`, {
    hint: 'give a number with K, M, G or T, such as 20G',
  });
}
