import type { Socket } from 'node:net';
import { giveBuffer } from '../../bytes/buffers.js';
import { contentOf, type Content, type Take } from './content.js';
import { HttpError, parseHead, requestText, type Head } from './message.js';

/** As much as node:http takes. */
const MAX_HEAD = 16 * 1024;
const HEAD_END = '\r\n\r\n';

/** A request on its way. */
export interface Outgoing {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  /** Chunks that are whole buffers of `takeBuffer` are given back. */
  readonly body?: AsyncIterable<Uint8Array> | Uint8Array | string | undefined;
}

/** An answer that has begun. Its content has to be read, or the connection closed. */
export interface Answered {
  readonly head: Head;
  /** Gives the content to `take`, to its end. @throws HttpError; what `take` threw, or the connection was closed with */
  readonly pour: (take: Take) => Promise<void>;
}

type State = 'idle' | 'asked' | 'answered' | 'pouring' | 'closed';
const EMPTY = new Uint8Array();

/** What waits for something to come. */
interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * HTTP/1.1 over one connection, one exchange after another (RFC 9112). What arrives is read into one buffer, which is used
 * again: streams of Node allocate memory for each 64 KiB, and take three times the CPU time.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #onFree: (connection: Connection) => void;
  #state: State = 'idle';
  #method = '';
  #head = '';
  #used = 0;
  #answer: Waiting<Answered> | undefined;
  /** Of an answer that came before all was sent. */
  #early: Head | undefined;
  #content: Content | undefined;
  /** Of the content, what came before it was asked for. */
  #ahead: Uint8Array | undefined;
  #poured: (Waiting<undefined> & { readonly take: Take }) | undefined;
  #isOpenEnded = false;
  #lasts = 0;
  #isSent = true;
  #refuses = false;
  #failure: unknown;
  /** Something came of the answer. */
  #isHeard = false;
  /** Until when it may be used again. */
  #until = 0;

  /** `onFree` is called after each exchange, and when it is closed; bytes have to be given to `received`. */
  constructor(socket: Socket, onFree: (connection: Connection) => void) {
    this.#socket = socket;
    this.#onFree = onFree;
    socket.on('error', (error) => {
      this.close(error);
    });
    socket.on('end', () => {
      this.#ended();
    });
    socket.on('close', () => {
      this.#ended();
    });
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  get isFree(): boolean {
    return this.#state === 'idle' && Date.now() < this.#until;
  }

  get isHeard(): boolean {
    return this.#isHeard;
  }

  /** Keeps the process running, or no longer does. */
  hold(holds: boolean): void {
    if (holds) this.#socket.ref();
    else this.#socket.unref();
  }

  /**
   * Settles when the answer begins, and all of the body was sent unless it is refused.
   * @throws HttpError; what the body or the socket failed with, or `close` was given
   */
  exchange(url: URL, { method, headers, body }: Outgoing): Promise<Answered> {
    const isStream = body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array);
    const bytes = body === undefined || isStream ? undefined : Buffer.from(body);
    const length = bytes && { 'content-length': String(bytes.length) };
    const text = Buffer.from(requestText(method, url, { ...length, ...headers }), 'latin1');
    this.#state = 'asked';
    this.#method = method;
    this.#isHeard = false;
    this.#refuses = false;
    const answer = new Promise<Answered>((resolve, reject) => {
      this.#answer = { resolve, reject };
    });
    this.#isSent = !isStream;
    this.#socket.write(bytes === undefined ? text : Buffer.concat([text, bytes]));
    if (isStream)
      this.#send(body).catch((error: unknown) => {
        this.close(error);
      });
    return answer;
  }

  /** Reads a chunk while the one before it is sent. */
  async #send(body: AsyncIterable<Uint8Array>): Promise<void> {
    let written: Promise<void> | undefined;
    for await (const chunk of body) {
      await written;
      if (this.#refuses) return;
      written = new Promise((resolve, reject) => {
        this.#socket.write(chunk, (error) => {
          if (chunk.length === chunk.buffer.byteLength) giveBuffer(chunk.buffer);
          if (error) reject(error);
          else resolve();
        });
      });
      written.catch(() => undefined);
    }
    await written;
    this.#isSent = true;
    if (this.#early !== undefined) this.#begin(this.#early, this.#ahead ?? EMPTY);
  }

  /** Bytes have come; their memory is used again. False when no more are wanted for now. */
  received(bytes: Uint8Array): boolean {
    try {
      if (this.#state === 'asked') return this.#readHead(bytes);
      if (this.#state === 'pouring') this.#decode(bytes);
      else if (this.#state === 'answered') this.#ahead = Buffer.concat([this.#ahead ?? EMPTY, bytes]);
      else this.close(new HttpError('HTTP_INVALID', 'more came than was asked for'));
    } catch (error) {
      this.close(error);
    }
    return this.#state === 'pouring' || this.#state === 'idle';
  }

  #readHead(bytes: Uint8Array): boolean {
    this.#isHeard = true;
    let rest = bytes;
    do {
      const head = this.#headIn(rest);
      if (head === undefined) return true;
      rest = rest.subarray(this.#used);
      if (head.status === 101) throw new HttpError('HTTP_INVALID', 'the answer changes the protocol');
      if (head.status >= 200) {
        // Before all of the body was sent and proved, it may be refused, and not taken.
        if (this.#isSent || head.status >= 300) this.#begin(head, rest);
        else {
          this.#state = 'answered';
          this.#early = head;
          this.#ahead = new Uint8Array(rest);
        }
        return this.#state === 'idle';
      }
      // Interim answers may come before it (RFC 9110, 15.2).
    } while (rest.length > 0);
    return true;
  }

  /** Undefined when its end has yet to come. */
  #headIn(bytes: Uint8Array): Head | undefined {
    const before = this.#head.length;
    const some = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_HEAD));
    this.#head += some.toString('latin1');
    const end = this.#head.indexOf(HEAD_END, Math.max(0, before - HEAD_END.length));
    if (end === -1) {
      if (this.#head.length < MAX_HEAD) return undefined;
      throw new HttpError('HTTP_INVALID', 'the headers of the answer are too long');
    }
    const head = parseHead(this.#head.slice(0, end), this.#method);
    this.#used = end + HEAD_END.length - before;
    this.#head = '';
    return head;
  }

  #begin(head: Head, rest: Uint8Array): void {
    const content = contentOf(head.framing);
    this.#state = 'answered';
    this.#early = this.#ahead = undefined;
    this.#refuses = head.status >= 300;
    this.#isOpenEnded = head.framing === 'open';
    this.#content = content;
    this.#lasts = head.lasts;
    const answer = this.#answer;
    this.#answer = undefined;
    if (rest.length > 0) this.#ahead = new Uint8Array(rest);
    if (content.isComplete) this.#complete(rest.length);
    answer?.resolve({ head, pour: (take) => this.#pour(content, take) });
  }

  #pour(content: Content, take: Take): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      if (content.isComplete) resolve();
      else if (this.#content !== content || this.#state !== 'answered') reject(asError(this.#failure));
      else {
        this.#state = 'pouring';
        this.#poured = { resolve, reject, take };
        const ahead = this.#ahead;
        this.#ahead = undefined;
        if (ahead === undefined || this.received(ahead)) this.#socket.resume();
      }
    });
  }

  #decode(bytes: Uint8Array): void {
    const [content, poured] = [this.#content, this.#poured];
    if (content === undefined || poured === undefined) return;
    const used = content.decode(bytes, poured.take);
    if (!content.isComplete) return;
    this.#complete(bytes.length - used);
    poured.resolve(undefined);
  }

  /** `surplus`: so many bytes came after the end of the answer. */
  #complete(surplus: number): void {
    this.#poured = undefined;
    this.#content = undefined;
    this.#ahead = undefined;
    const lasts = surplus === 0 && this.#isSent ? this.#lasts : 0;
    this.#until = Date.now() + lasts;
    this.#state = 'idle';
    if (lasts === 0) this.close(closed());
    else {
      this.#socket.resume();
      this.#onFree(this);
    }
  }

  #ended(): void {
    if (this.#state === 'pouring' && this.#isOpenEnded) {
      const poured = this.#poured;
      this.#complete(0);
      poured?.resolve(undefined);
    } else if (this.#state === 'asked') this.close(closed());
    else
      this.close(
        new HttpError('HTTP_CLOSED', 'the other side closed the connection before the end of its answer'),
      );
  }

  /** Ends it and what is under way. */
  close(error: unknown): void {
    if (this.#state === 'closed') return;
    this.#failure = this.#state === 'idle' ? undefined : error;
    this.#state = 'closed';
    this.#socket.destroy();
    this.#ahead = undefined;
    this.#answer?.reject(error);
    this.#poured?.reject(error);
    this.#answer = this.#poured = undefined;
    this.#onFree(this);
  }
}

function asError(failure: unknown): Error {
  return failure instanceof Error ? failure : closed();
}

function closed(): HttpError {
  return new HttpError('HTTP_CLOSED', 'the other side closed the connection');
}
