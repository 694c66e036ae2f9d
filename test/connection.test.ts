import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { Connections } from '../src/formats/docker/connections.js';
import { contentOf } from '../src/formats/docker/content.js';
import { parseHead, requestText } from '../src/formats/docker/message.js';

const never = new AbortController().signal;

/** A server that answers each request, of which it hears the bytes, as it is told. */
async function served(answer: (socket: Socket, asked: string, connection: number) => void) {
  let connections = 0;
  const server = createServer((socket) => {
    const number = connections++;
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      answer(socket, bytes.toString('latin1'), number);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const url = new URL(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/v2/`);
  const client = new Connections(url, { tls: undefined, timeoutMs: 5000, most: 1 });
  const get = async () => {
    const { head, pour } = await client.request(url, { method: 'GET', headers: {} }, never);
    const parts: Buffer[] = [];
    await pour((chunk) => parts.push(Buffer.from(chunk)));
    return { status: head.status, text: Buffer.concat(parts).toString() };
  };
  return {
    url,
    client,
    get,
    count: () => connections,
    [Symbol.dispose]: () => {
      client.close(new Error('over'));
      server.close();
    },
  };
}

function decoded(coded: string, size: number): string {
  const content = contentOf('chunked');
  const bytes = Buffer.from(coded);
  let text = '';
  for (let at = 0; at < bytes.length; at += size)
    content.decode(bytes.subarray(at, at + size), (chunk) => (text += Buffer.from(chunk).toString()));
  assert.equal(content.isComplete, true);
  return text;
}

for (const size of [1, 3, 64])
  test(`chunks, ${size} bytes at a time`, () => {
    assert.equal(
      decoded('3\r\nabc\r\n00A;x="y"\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n', size),
      'abc0123456789',
    );
    for (const wrong of [
      '3\r\nabcd\r\n',
      'x\r\n',
      '-1\r\n',
      '3\nabc\r\n',
      `${'1'.repeat(13)}\r\n`,
      `1;${'x'.repeat(5000)}`,
    ])
      assert.throws(() => decoded(wrong, size), { code: 'HTTP_INVALID' });
  });

test('heads that can be read in two ways are refused', () => {
  const lines = (...all: string[]) => ['HTTP/1.1 200 OK', ...all].join('\r\n');
  for (const wrong of [
    lines('Content-Length: 1', 'Content-Length: 2'),
    lines('Content-Length: +1'),
    lines('Content-Length: 1', 'Transfer-Encoding: chunked'),
    lines('Transfer-Encoding: gzip, chunked'),
    lines('Content-Length : 1'),
    lines('A: b', ' folded'),
    lines('A: b\nB: c'),
    'HTTP/2 200',
    'ICY 200 OK',
  ])
    assert.throws(() => parseHead(wrong, 'GET'), { code: 'HTTP_INVALID' }, wrong);
  assert.deepEqual(parseHead(lines('Content-Length: 1', 'content-length: 1'), 'GET').framing, { length: 1 });
  assert.deepEqual(parseHead(lines('Content-Length: 9'), 'HEAD').framing, { length: 0 });
});

test('no header ends before its end', () => {
  const url = new URL('http://host/v2/');
  for (const value of ['a\r\nb: c', 'a\nb', '\0', '\u{1f600}'])
    assert.throws(() => requestText('GET', url, { authorization: value }), { code: 'HTTP_REQUEST' });
});

test('a connection is used again, and interim answers are passed over', async () => {
  using server = await served((socket) => {
    socket.write(
      `${'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(20_000)}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab`,
    );
  });
  for (const _ of [1, 2, 3]) assert.deepEqual(await server.get(), { status: 200, text: 'ab' });
  assert.equal(server.count(), 1);
});

test('a connection on which more came than was asked for is not used again', async () => {
  using server = await served((socket, _, number) => {
    const surplus = number === 0 ? 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil' : '';
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab${surplus}`);
  });
  for (const _ of [1, 2]) assert.equal((await server.get()).text, 'ab');
  assert.equal(server.count(), 2);
});

test('a request over a connection that the server closed meanwhile is sent again, once', async () => {
  let asked = 0;
  using server = await served((socket) => {
    if (++asked === 2 || asked > 3) socket.destroy();
    else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  });
  for (const _ of [1, 2]) assert.equal((await server.get()).status, 200);
  await assert.rejects(server.get(), /closed|ECONNRESET|EPIPE/);
  assert.equal(asked, 5);
});

test('an answer that breaks off is an error, and one without a length ends with its connection', async () => {
  using cut = await served((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab'));
  await assert.rejects(cut.get(), { code: 'HTTP_CLOSED' });
  using open = await served((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nab'));
  assert.equal((await open.get()).text, 'ab');
});

test('a body is not taken for sent before its proof, whatever the server says', async () => {
  using server = await served((socket) => {
    socket.write('HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n');
  });
  async function* body() {
    yield Buffer.from('abc');
    await new Promise((resolve) => setTimeout(resolve, 100));
    throw new Error('not what it should be');
  }
  const headers = { 'content-length': '3' };
  await assert.rejects(
    server.client.request(server.url, { method: 'PUT', headers, body: body() }, never),
    /not what it should be/,
  );
});
