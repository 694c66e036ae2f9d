/** What is wrong with an answer, or with the connection that it was to come over. */
export class HttpError extends Error {
  readonly code: 'HTTP_CLOSED' | 'HTTP_INVALID' | 'HTTP_SILENT' | 'HTTP_REQUEST';

  constructor(code: HttpError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** How long the content of a message is (RFC 9112, 6.3); `open`: until the connection is closed. */
export type Framing = { readonly length: number } | 'chunked' | 'open';

/** The beginning of an answer. */
export interface Head {
  readonly status: number;
  /** Names in lower case; one that comes again has its values joined. */
  readonly headers: ReadonlyMap<string, string>;
  readonly framing: Framing;
  /** How long the connection may be used for further requests, in milliseconds; 0 for not at all. */
  readonly lasts: number;
}

const STATUS = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [^\0\n]*)?$/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110, 5.5; a tab and bytes beyond ASCII are allowed. */
const NOT_OF_VALUES = /[\0-\x08\x0a-\x1f\x7f]/;
/** Connections are kept so long when the server says nothing of it. */
const LASTS_MS = 30_000;
/** What a server says is cut by this: a request takes its time to get there. */
const MARGIN_MS = 2000;

/** @throws HttpError HTTP_REQUEST for a header that would end too early */
export function requestText(
  method: string,
  { pathname, search, host }: URL,
  headers: Readonly<Record<string, string>>,
): string {
  const lines = Object.entries({ host, connection: 'keep-alive', ...headers }).map(([name, value]) => {
    if (!NAME.test(name) || NOT_OF_VALUES.test(value) || /[^\0-\xff]/.test(value))
      throw new HttpError('HTTP_REQUEST', `invalid ${name} header`);
    return `${name}: ${value}\r\n`;
  });
  return `${method} ${pathname}${search} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** `text`: to the empty line, which is left out. @throws HttpError HTTP_INVALID */
export function parseHead(text: string, method: string): Head {
  const [first = '', ...lines] = text.split('\r\n');
  const [, minor, code] = STATUS.exec(first) ?? [];
  if (code === undefined) throw new HttpError('HTTP_INVALID', 'the answer is not HTTP/1.1');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
    if (!NAME.test(name) || NOT_OF_VALUES.test(value))
      throw new HttpError('HTTP_INVALID', 'a header of the answer is malformed');
    const known = headers.get(name);
    // Two lengths are two answers for whoever is between (RFC 9112, 6.3).
    if (known !== undefined && name === 'content-length' && known !== value)
      throw new HttpError('HTTP_INVALID', 'the answer has two lengths');
    headers.set(name, known === undefined || name === 'content-length' ? value : `${known}, ${value}`);
  }
  const status = Number(code);
  const framing = framingOf(status, headers, method);
  const closes = minor === '0' || framing === 'open' || /\bclose\b/i.test(headers.get('connection') ?? '');
  return { status, headers, framing, lasts: closes ? 0 : lastingOf(headers) };
}

function framingOf(status: number, headers: ReadonlyMap<string, string>, method: string): Framing {
  const [coding, length] = [headers.get('transfer-encoding'), headers.get('content-length')];
  if (length !== undefined && !/^\d{1,15}$/.test(length))
    throw new HttpError('HTTP_INVALID', 'the length of the answer is malformed');
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { length: 0 };
  if (coding !== undefined) {
    if (coding.toLowerCase() !== 'chunked' || length !== undefined)
      throw new HttpError(
        'HTTP_INVALID',
        'the answer has a transfer coding other than chunked, or a length too',
      );
    return 'chunked';
  }
  return length === undefined ? 'open' : { length: Number(length) };
}

function lastingOf(headers: ReadonlyMap<string, string>): number {
  const said = /\btimeout=(\d{1,6})\b/i.exec(headers.get('keep-alive') ?? '')?.[1];
  return said === undefined ? LASTS_MS : Math.min(Math.max(Number(said) * 1000 - MARGIN_MS, 0), LASTS_MS);
}
