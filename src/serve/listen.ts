import { ImgconvError } from '../model/errors.js';

export interface Address {
  /** Undefined: every address of this machine. */
  readonly host: string | undefined;
  readonly port: number;
}

/** `HOST:PORT`, `[::1]:PORT`, `:PORT` for every address of this machine, or a port of 127.0.0.1 alone. @throws ImgconvError USAGE */
export function parseAddress(text: string): Address {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]*)):)?([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new ImgconvError('USAGE', `--listen ${text}: HOST:PORT is expected`, {
      hint: '127.0.0.1:5000 is this machine alone, 0.0.0.0:5000 every address of it',
    });
  const [, v6, name] = match;
  const host = v6 ?? name;
  if (host === undefined) return { host: '127.0.0.1', port };
  return { host: host === '' ? undefined : host, port };
}

/** True for addresses that other machines cannot reach. */
export function isLoopback(host: string | undefined): boolean {
  return (
    host !== undefined && (host === 'localhost' || host === '::1' || /^127(?:\.[0-9]{1,3}){3}$/.test(host))
  );
}

/** As it is written before a port in a URL or a reference. */
export function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
