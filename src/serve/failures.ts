import type { IncomingMessage, ServerResponse } from 'node:http';
import { asImgconvError, ImgconvError, isErrno } from '../model/errors.js';
import { Gone } from './blob-route.js';
import { hostText, type Address } from './listen.js';
import { Refusal } from './refusal.js';

/** What a client still sends after it was refused is read for so long, so that it gets to read the answer. */
const DRAIN = 3000;

/** Tells the client that it failed. Gives what only the log is told. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
): string | undefined {
  if (error instanceof Gone) {
    response.destroy();
    return undefined;
  }
  const refusal = error instanceof Refusal ? error : refusalOf(asImgconvError(error));
  const own =
    error instanceof Refusal ? undefined : error instanceof ImgconvError ? error.message : String(error);
  if (request.destroyed && !request.complete) {
    // It is the client that broke off, unless something else is known.
    response.destroy();
    return isErrno(error, 'ECONNRESET') ? undefined : own;
  }
  if (response.headersSent) {
    // A part was sent: what the client has must not look whole.
    response.destroy();
    return own;
  }
  if (!request.complete) {
    response.setHeader('Connection', 'close');
    request.resume();
    const drained = setTimeout(() => request.destroy(), DRAIN).unref();
    request.once('close', () => {
      clearTimeout(drained);
    });
  }
  const body = request.method === 'HEAD' ? undefined : refusal.document;
  response.writeHead(refusal.status, {
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(refusal.document)),
    ...refusal.headers,
  });
  response.end(body);
  return own;
}

/** What a client is told of a failure of the server. */
function refusalOf(error: ImgconvError): Refusal {
  if (error.code === 'NO_SPACE')
    return new Refusal('UNAVAILABLE', 'no space is left where the registry keeps its images', {
      status: 507,
    });
  if (error.code === 'DIGEST_MISMATCH' || error.code === 'SOURCE_CHANGED')
    return new Refusal('UNKNOWN', 'what the registry has is damaged: imgconv verify names it');
  return new Refusal('UNKNOWN', 'the registry failed; its log says why');
}

export function cannotListen(error: unknown, { host = '', port }: Address): ImgconvError {
  const at = `${hostText(host)}:${port}`;
  if (isErrno(error, 'EADDRINUSE'))
    return new ImgconvError('IO', `${at}: another program listens there`, {
      hint: '--listen 127.0.0.1:5001 takes another port, --listen 127.0.0.1:0 any that is free',
    });
  if (isErrno(error, 'EACCES'))
    return new ImgconvError('IO', `${at}: not allowed: ports below 1024 are root's`, {
      hint: 'take a higher one',
    });
  if (isErrno(error, 'EADDRNOTAVAIL', 'ENOTFOUND'))
    return new ImgconvError('IO', `${at}: not an address of this machine`, {
      hint: '0.0.0.0 is every address of it',
    });
  return asImgconvError(error, at);
}
