import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { OCI, type Part } from '../support/images.js';

/** What a sound registry would say. */
export interface Sound {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface Asked {
  /** As a sound registry does. */
  readonly answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** How often this request went wrong before. */
  readonly count: number;
  /** Time that a client waits in silence, in milliseconds. */
  readonly idleMs: number;
  /** A manifest that is sound, and was not asked for. */
  readonly other: Part;
  readonly otherHost: string;
}

export type Answerer = (asked: Asked) => unknown;

/** Has the registry do what it was asked to, and catches its answer. Undefined where the client went away. */
async function soundly({ answer, request, response }: Asked): Promise<Sound | undefined> {
  const own = { writeHead: response.writeHead.bind(response), end: response.end.bind(response) };
  let [status, headers]: [number, Record<string, string>] = [0, {}];
  let body: Buffer | undefined;
  response.writeHead = ((code: number, fields: Record<string, string>) => {
    [status, headers] = [code, { ...fields }];
    return response;
  }) as typeof response.writeHead;
  response.end = ((bytes: Buffer | undefined) => {
    body = bytes ?? Buffer.alloc(0);
    return response;
  }) as typeof response.end;
  await answer(request, response);
  Object.assign(response, own);
  return body === undefined ? undefined : { status, headers, body };
}

function send({ response }: Asked, { status, headers, body }: Sound): void {
  response.writeHead(status, headers);
  response.end(body);
}

/** A sound answer with something else in it. */
const changed =
  (change: (sound: Sound, asked: Asked) => Partial<Sound>): Answerer =>
  async (asked) => {
    const sound = await soundly(asked);
    if (sound === undefined) asked.response.destroy();
    else send(asked, { ...sound, ...change(sound, asked) });
  };

/** The length is that of the body, whatever that was made. */
const body = (make: (sound: Sound, asked: Asked) => string | Buffer, type?: string): Answerer =>
  changed((sound, asked) => {
    const bytes = Buffer.from(make(sound, asked));
    const headers = { ...sound.headers, 'content-length': String(bytes.length) };
    return { headers: type === undefined ? headers : { ...headers, 'content-type': type }, body: bytes };
  });

const headers = (make: (asked: Asked, sound: Sound) => Readonly<Record<string, string>>): Answerer =>
  changed((sound, asked) => ({ headers: { ...sound.headers, ...make(asked, sound) } }));

const status = (code: number, more: Readonly<Record<string, string>> = {}): Answerer =>
  changed(({ headers }) => ({ status: code, headers: { ...headers, ...more } }));

/** Nothing is done of what was asked. */
const undone =
  (code: number, more: (asked: Asked) => Readonly<Record<string, string>> = () => ({})): Answerer =>
  (asked) => {
    asked.request.resume();
    send(asked, { status: code, headers: { 'content-length': '0', ...more(asked) }, body: Buffer.alloc(0) });
  };

/** Bytes of an answer as they are, and the connection to write them to. */
const raw =
  (write: (socket: Socket, sound: Sound, asked: Asked) => unknown): Answerer =>
  async (asked) => {
    const sound = await soundly(asked);
    const { socket } = asked.request;
    if (sound === undefined) socket.destroy();
    else write(socket, sound, asked);
  };

function headOf({ status, headers }: Sound, more = ''): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} OK\r\n${lines.join('')}connection: close\r\n${more}\r\n`;
}

/** For as long as somebody listens. */
function everySoOften(ms: number, socket: Socket, work: (at: number) => unknown): void {
  let at = 0;
  const timer = setInterval(() => work(at++), ms);
  socket.on('close', () => {
    clearInterval(timer);
  });
}

/** As fast as it is taken. */
function pour(socket: Socket, text: string): void {
  const piece = Buffer.from(text.repeat(Math.ceil(65_536 / text.length)));
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.on('drain', more);
  more();
}

const chunked = (sound: Sound): Sound => {
  const { 'content-length': _, ...headers } = sound.headers;
  return { ...sound, headers };
};
const unending = (text: string): Answerer =>
  raw((socket, sound) => {
    socket.write(headOf(chunked(sound)));
    socket.write(sound.body);
    pour(socket, text);
  });
const half = ({ body }: Sound): Buffer => body.subarray(0, body.length >> 1);
const count = (item: string) => `[${item}${`,${item}`.repeat(1_200_000)}]`;
const lists = (list: string) => `{"schemaVersion":2,"tags":${list},"repositories":${list}}`;
const digest = `sha256:${'0'.repeat(64)}`;
/** What the client said to be let in, said again where a message might show it. */
const secret = ({ request }: Asked): string => {
  const said = request.headers.authorization ?? 'none';
  const basic = /^Basic (.*)$/.exec(said)?.[1];
  return basic === undefined
    ? said.replace(/^\w+ /, '')
    : (Buffer.from(basic, 'base64').toString().split(':')[1] ?? '');
};

const ENDLESS: Readonly<Record<string, Answerer>> = {
  'endless spaces': unending(' '),
  'endless zeroes': unending('\0'),
  'endless brackets': unending('[{"a":'),
  'endless interim answers': ({ request: { socket }, idleMs }) => {
    everySoOften(idleMs / 6, socket, () => socket.write('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'));
  },
  'a flood of interim answers': ({ request: { socket } }) => {
    pour(socket, 'HTTP/1.1 100 Continue\r\n\r\n');
  },
  'endless header': ({ request: { socket } }) => {
    socket.write('HTTP/1.1 200 OK\r\nx-long: ');
    pour(socket, 'x');
  },
  'endless headers': ({ request: { socket } }) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    pour(socket, 'x: y\r\n');
  },
  'endless chunk extension': raw((socket, sound) => {
    socket.write(headOf(chunked(sound), 'transfer-encoding: chunked\r\n'));
    socket.write('1;x=');
    pour(socket, 'x');
  }),
  'endless trailers': raw((socket, sound) => {
    socket.write(headOf(chunked(sound), 'transfer-encoding: chunked\r\n'));
    socket.write('1\r\n{\r\n0\r\n');
    pour(socket, 'x: y\r\n');
  }),
  'endless pages': headers(({ request, count }) => ({
    link: `<${new URL(request.url ?? '', 'http://x').pathname}?at=${count}>; rel="next"`,
  })),
  'endless redirections': undone(307, ({ request, count }) => ({
    location: `${new URL(request.url ?? '', 'http://x').pathname}?at=${count}`,
  })),
  'endless challenges': undone(401, ({ count, otherHost }) => ({
    'www-authenticate': `Bearer realm="http://${otherHost}/token",service="s${count}"`,
  })),
  'endless basic challenges': undone(401, () => ({ 'www-authenticate': 'Basic realm="x"' })),
};

const SLOW: Readonly<Record<string, Answerer>> = {
  'a byte a second': raw((socket, sound, { idleMs }) => {
    socket.write(headOf(sound));
    everySoOften(idleMs / 6, socket, (at) => socket.write(sound.body.subarray(at, at + 1)));
  }),
  'a byte of a header a second': raw((socket, sound, { idleMs }) => {
    const head = Buffer.from(headOf(sound));
    everySoOften(idleMs / 6, socket, (at) => socket.write(head.subarray(at, at + 1)));
  }),
  'a byte of what has no length a second': raw((socket, sound, { idleMs }) => {
    socket.write(headOf(chunked(sound)));
    everySoOften(idleMs / 6, socket, () => socket.write(' '));
  }),
};

const HUGE: Readonly<Record<string, Answerer>> = {
  'a header of 100 kB': headers(() => ({ 'x-long': 'x'.repeat(100_000) })),
  'a digest of 15 kB': headers(() => ({ 'docker-content-digest': 'x'.repeat(15_000) })),
  'a Location of 15 kB': headers(() => ({ location: `/v2/${'x'.repeat(15_000)}` })),
  'a Link of 15 kB': headers(() => ({ link: `<${'/'.repeat(15_000)}>; rel="next"` })),
  'a Link of brackets': headers(() => ({ link: '<'.repeat(15_000) })),
  'a challenge of 15 kB': undone(401, () => ({ 'www-authenticate': `Bearer ${'a="'.repeat(5000)}` })),
  'a challenge of escapes': undone(401, () => ({
    'www-authenticate': `Bearer realm="${'\\'.repeat(15_000)}`,
  })),
  'a body of 40 MB': body(({ body }) => Buffer.concat([body, Buffer.alloc(40e6, ' ')])),
  'an error of 40 MB': changed(() => ({ status: 500, headers: {}, body: Buffer.alloc(40e6, 'x') })),
  'a million names': body(() => lists(count('"a"'))),
  'a million numbers': body(() => lists(count('1'))),
  'a million manifests': body(
    () => `{"schemaVersion":2,"mediaType":"${OCI.index}","manifests":${count('{}')}}`,
    OCI.index,
  ),
  'a million layers': body(() => `{"schemaVersion":2,"config":{},"layers":${count('1')}}`, OCI.manifest),
  'a hundred thousand levels': body(() => '['.repeat(100_000)),
  'a token of 900 kB': body(() => `{"token":"${'x'.repeat(900_000)}"}`),
  'a length beyond numbers': headers(() => ({ 'content-length': '99999999999999999999' })),
  'a length of terabytes': headers(() => ({ 'content-length': '9007199254740993' })),
  'a chunk of 9 MB and a half byte': headers(() => ({ 'oci-chunk-min-length': '8388608.5' })),
  'chunks of terabytes': headers(() => ({ 'oci-chunk-min-length': '1e15' })),
  'a wait of a year': status(429, { 'retry-after': '31536000' }),
};

const STATUSES = [
  ...[200, 201, 202, 204, 206, 226, 299, 300, 301, 302, 304, 307, 400, 401, 403, 404, 405, 408],
  ...[410, 413, 416, 418, 429, 451, 500, 501, 502, 503, 504, 599, 600, 999],
];
const LOCATIONS: readonly string[] = [
  ...['', '/', '?', '#', '//', 'http://', 'http://[::1', 'file:///etc/passwd', 'data:,x', 'javascript:1'],
  ...['https://127.0.0.1:1/x', 'http://127.0.0.1:1/x', 'http://u:p@127.0.0.1:1/x', '/v2/../../x', '\\\\x\\y'],
  ...['/v2/?digest=x&digest=y', 'http://0/x', 'ftp://127.0.0.1/x'],
];
const BODIES: readonly string[] = [
  ...[
    '',
    '<html>',
    'null',
    '[]',
    '"x"',
    '1',
    '{}',
    '{',
    '\u0000',
    '{"token":1}',
    '{"token":""}',
    '{"token":"a b"}',
  ],
  ...['{"tags":{}}', '{"tags":null}', '{"tags":[null]}', '{"tags":["../../x"]}', '{"tags":["a\\nb"]}'],
  ...[
    '{"repositories":{}}',
    '{"repositories":["../../x"]}',
    '{"repositories":[{}]}',
    '{"__proto__":{"token":"x"}}',
  ],
  ...['{"schemaVersion":2}', '{"schemaVersion":1}', '{"schemaVersion":2,"manifests":[],"layers":[]}'],
  ...[
    '{"token":"x","expires_in":-1}',
    '{"token":"x","expires_in":1e308}',
    '{"errors":[{"code":null,"message":null}]}',
  ],
  `{"schemaVersion":2,"mediaType":"${OCI.index}","manifests":[{"mediaType":"${OCI.manifest}","digest":"${digest}","size":1e15}]}`,
  `{"schemaVersion":2,"mediaType":"${OCI.manifest}","config":{"mediaType":"x","digest":"${digest}","size":-1},"layers":[]}`,
];
const named = <T>(title: string, all: readonly T[], make: (one: T) => Answerer): Record<string, Answerer> =>
  Object.fromEntries(all.map((one) => [`${title} ${JSON.stringify(one)}`, make(one)]));

const WRONG: Readonly<Record<string, Answerer>> = {
  ...named('status', STATUSES, (code) => status(code)),
  ...named('undone', [200, 201, 202, 204, 206, 404, 500], (code) => undone(code)),
  ...named('location', LOCATIONS, (location) => headers(() => ({ location }))),
  ...named('redirection', LOCATIONS, (location) => undone(307, () => ({ location }))),
  ...named('next page', LOCATIONS, (next) => headers(() => ({ link: `<${next}>; rel="next"` }))),
  ...named('body', BODIES, (text) => body(() => text)),
  ...named('digest', ['', digest, 'sha256:', '../../x', 'md5:00', `sha512:${'0'.repeat(128)}`], (text) =>
    headers(() => ({ 'docker-content-digest': text })),
  ),
  ...named('type', ['', 'text/html', 'application/json', OCI.index, OCI.manifest, 'a/b; c="'], (text) =>
    headers(() => ({ 'content-type': text })),
  ),
  ...named('length', ['0', '1', '-1', 'x', '1, 2', '1e3', '+5'], (text) =>
    headers(() => ({ 'content-length': text })),
  ),
  ...named('range', ['', 'x', '0-99999999', '0-99999999999999999999', '5-1', 'bytes=0-0', '0--1'], (text) =>
    headers(() => ({ range: text })),
  ),
  ...named(
    'part',
    ['', 'bytes 0-0/1', 'bytes 5-9/*', 'bytes */5', 'bytes 0-99999999999999999999/*'],
    (text) => changed(({ headers }) => ({ status: 206, headers: { ...headers, 'content-range': text } })),
  ),
  ...named(
    'challenge',
    [
      '',
      'Bearer',
      'Bearer realm="x"',
      'Bearer realm="file:///x"',
      'Bearer realm="http://192.0.2.1/"',
      'Negotiate',
      'Basic',
    ],
    (text) => undone(401, () => ({ 'www-authenticate': text })),
  ),
  ...named('retry after', ['0', '-1', 'x', 'Thu, 01 Jan 1970 00:00:00 GMT'], (text) =>
    status(503, { 'retry-after': text }),
  ),
  ...named('compressed', ['gzip', 'br', 'x'], (text) => headers(() => ({ 'content-encoding': text }))),
  'another host': headers(({ otherHost }) => ({ location: `http://${otherHost}/v2/x` })),
  'a redirection to another host': undone(307, ({ otherHost }) => ({ location: `http://${otherHost}/v2/x` })),
  'a page of another host': headers(({ otherHost }) => ({ link: `<http://${otherHost}/>; rel="next"` })),
  'a page of itself': headers(({ request }) => ({ link: `<${request.url ?? ''}>; rel="next"` })),
  'a changed byte': body(({ body }) => Buffer.concat([body.subarray(0, -1), Buffer.from('\u0001')])),
  'a byte too many': body(({ body }) => Buffer.concat([body, Buffer.from(' ')])),
  'a byte too few': body(({ body }) => body.subarray(1)),
  'a secret as digest': headers((asked) => ({ 'docker-content-digest': secret(asked) })),
  'a secret as part': changed(({ headers }, asked) => ({
    status: 206,
    headers: { ...headers, 'content-range': secret(asked) },
  })),
  'a secret as error': changed((_, asked) => ({
    status: 400,
    headers: {},
    body: Buffer.from(`${secret(asked)} ${asked.request.headers.authorization ?? ''}`),
  })),
  'a secret as body': body((_, asked) => `{"tags":["${secret(asked)}/"],"${secret(asked)}":x`),
  'a secret as location': undone(307, (asked) => ({ location: `ftp://${secret(asked)}/${secret(asked)}` })),
  'a secret as realm': undone(401, (asked) => ({
    'www-authenticate': `Bearer realm="ftp://x/${secret(asked)}"`,
  })),
  'a secret as page': headers((asked) => ({ link: `<http://${secret(asked)}/>; rel="next"` })),
};

const CONTRADICTORY: Readonly<Record<string, Answerer>> = {
  'sound, then 404': (asked) => (asked.count % 2 === 0 ? changed(() => ({}))(asked) : undone(404)(asked)),
  '404, then sound': (asked) => (asked.count % 2 === 1 ? changed(() => ({}))(asked) : undone(404)(asked)),
  'sound, then 500': (asked) => (asked.count % 2 === 0 ? changed(() => ({}))(asked) : undone(500)(asked)),
  'another manifest': changed((_, { other }) => ({
    headers: { 'content-type': other.mediaType, 'docker-content-digest': other.digest },
    body: other.bytes,
  })),
  'another manifest each second time': (asked) =>
    asked.count % 2 === 0
      ? changed(() => ({}))(asked)
      : changed((_, { other }) => ({
          headers: { 'content-type': other.mediaType, 'docker-content-digest': other.digest },
          body: other.bytes,
        }))(asked),
  "another's body": body((_, { other }) => other.bytes),
  "another's digest": headers(({ other }) => ({ 'docker-content-digest': other.digest })),
  'two digests': raw((socket, sound, { other }) => {
    socket.end(
      Buffer.concat([Buffer.from(headOf(sound, `docker-content-digest: ${other.digest}\r\n`)), sound.body]),
    );
  }),
  'two lengths': raw((socket, sound) => {
    socket.end(Buffer.concat([Buffer.from(headOf(sound, 'content-length: 7\r\n')), sound.body]));
  }),
  'length and chunks': raw((socket, sound) => {
    socket.end(`${headOf(sound, 'transfer-encoding: chunked\r\n')}0\r\n\r\n`);
  }),
  'two answers': raw((socket, sound) => {
    const head = headOf(sound).replace('connection: close\r\n', '');
    socket.write(Buffer.concat([Buffer.from(head), sound.body, Buffer.from(head), sound.body]));
    socket.end();
  }),
  'a body where none may be': raw((socket, sound) => {
    socket.end(`${headOf({ ...sound, headers: { ...sound.headers, 'content-length': '5' } })}{}{}{`);
  }),
  'other protocols': undone(101, () => ({ connection: 'upgrade', upgrade: 'x' })),
};

const CUT: Readonly<Record<string, Answerer>> = {
  'closed at once': ({ request }) => request.socket.destroy(),
  reset: ({ request }) => request.socket.resetAndDestroy(),
  'closed when all was taken': raw((socket) => socket.destroy()),
  'closed in the header': raw((socket, sound) => socket.end(headOf(sound).slice(0, 20))),
  'closed after the header': raw((socket, sound) => socket.end(headOf(sound))),
  'closed in the body': raw((socket, sound) =>
    socket.end(Buffer.concat([Buffer.from(headOf(sound)), half(sound)])),
  ),
  'closed in a body without length': raw((socket, sound) =>
    socket.end(Buffer.concat([Buffer.from(headOf(chunked(sound))), half(sound)])),
  ),
  'closed in a chunk': raw((socket, sound) =>
    socket.end(`${headOf(chunked(sound), 'transfer-encoding: chunked\r\n')}ff\r\n{`),
  ),
  'no HTTP': ({ request }) => request.resume().socket.end('SSH-2.0-OpenSSH_9.2\r\n'),
  'HTTP/2': ({ request }) => request.resume().socket.end('HTTP/2 200\r\n\r\n'),
  'bad header': ({ request }) => request.resume().socket.end('HTTP/1.1 200 OK\r\n\u0000: \u0001\r\n\r\n'),
  'bad chunk': raw((socket, sound) =>
    socket.end(`${headOf(chunked(sound), 'transfer-encoding: chunked\r\n')}zz\r\n`),
  ),
};

const SILENT: Readonly<Record<string, Answerer>> = {
  silent: () => undefined,
  'silent when all was taken': raw(() => undefined),
  'silent after the header': raw((socket, sound) => socket.write(headOf(sound))),
  'silent in the body': raw((socket, sound) =>
    socket.write(Buffer.concat([Buffer.from(headOf(sound)), half(sound)])),
  ),
};

/** All ways in which a registry answers, by kind and name. */
export const ANSWERS: Readonly<Record<string, Answerer>> = Object.fromEntries(
  Object.entries({
    endless: ENDLESS,
    slow: SLOW,
    huge: HUGE,
    wrong: WRONG,
    contradictory: CONTRADICTORY,
    cut: CUT,
    silent: SILENT,
  }).flatMap(([kind, all]) => Object.entries(all).map(([name, act]) => [`${kind}: ${name}`, act])),
);
