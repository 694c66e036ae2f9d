import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type SecureContextOptions } from 'node:tls';
import { Connection, type Answered, type Outgoing } from './connection.js';
import { HttpError } from './message.js';
import type { TlsOptions } from './tls.js';

/** What is read at once: few calls, and it is still in the core's own cache when it is hashed and written. */
const READ = 256 * 1024;
/** Peers of a connection that is open may vanish. */
const PROBE_MS = 60_000;

/** How a server is reached. */
export interface Reach {
  /** Undefined for plain HTTP. */
  readonly tls: (Partial<TlsOptions> & Pick<SecureContextOptions, 'ca'>) | undefined;
  readonly timeoutMs: number;
  /** Connections at once. */
  readonly most: number;
}

/** The connections to one server; a request waits for one that is free. */
export class Connections {
  readonly #url: URL;
  readonly #reach: Reach;
  readonly #all = new Set<Connection>();
  /** From the one used longest ago to the one used last. */
  #free: Connection[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(url: URL, reach: Reach) {
    this.#url = url;
    this.#reach = reach;
  }

  /** `signal` ends the wait for the answer, and the answer. @throws what the signal was aborted with; what the connection failed with */
  async request(url: URL, outgoing: Outgoing, signal: AbortSignal): Promise<Answered> {
    for (let again = false; ; again = true) {
      const { connection, isUsed } = await this.#take(signal);
      const abort = () => {
        connection.close(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      const done = () => {
        signal.removeEventListener('abort', abort);
      };
      try {
        const { head, pour } = await connection.exchange(url, outgoing);
        return { head, pour: (take) => pour(take).finally(done) };
      } catch (error) {
        done();
        connection.close(error);
        // The server may have closed the connection just when it was used again (RFC 9112, 9.3.1).
        const isStale = isUsed && !again && !connection.isHeard && !signal.aborted;
        if (!isStale || !/^(?:GET|HEAD)$/.test(outgoing.method)) throw error;
      }
    }
  }

  async #take(signal: AbortSignal): Promise<{ connection: Connection; isUsed: boolean }> {
    for (;;) {
      signal.throwIfAborted();
      const free = this.#free.pop();
      if (free?.isFree === true) {
        free.hold(true);
        return { connection: free, isUsed: true };
      }
      if (free !== undefined) free.close(undefined);
      else if (this.#all.size < this.#reach.most)
        return { connection: await this.#open(signal), isUsed: false };
      else await this.#wait(signal);
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.add(resolve);
      signal.addEventListener(
        'abort',
        () => {
          this.#waiting.delete(resolve);
          resolve();
        },
        { once: true },
      );
    });
  }

  async #open(signal: AbortSignal): Promise<Connection> {
    const { hostname, port, protocol } = this.#url;
    const { tls } = this.#reach;
    const host = hostname.replace(/^\[|\]$/g, '');
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ),
      callback: (count: number, buffer: Uint8Array): boolean =>
        connection.received(buffer.subarray(0, count)),
    };
    const to = { host, port: Number(port || (protocol === 'https:' ? 443 : 80)), onread };
    const name = isIP(host) === 0 ? { servername: host } : {};
    const socket: Socket =
      tls === undefined ? connect(to) : connectTls({ ...to, ...name, ...tls, ALPNProtocols: ['http/1.1'] });
    const connection: Connection = new Connection(socket, (one) => {
      this.#freed(one);
    });
    this.#all.add(connection);
    await this.#connected(socket, tls === undefined ? 'connect' : 'secureConnect', signal);
    socket.setNoDelay(true).setKeepAlive(true, PROBE_MS);
    return connection;
  }

  #connected(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: Error) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
        if (error === undefined) resolve();
        else {
          socket.destroy();
          reject(error);
        }
      };
      const abort = () => {
        end(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
      };
      const timer = setTimeout(() => {
        end(Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT', syscall: 'connect' }));
      }, this.#reach.timeoutMs);
      signal.addEventListener('abort', abort);
      socket.once('error', end);
      socket.once('close', () => {
        end(new HttpError('HTTP_CLOSED', 'the other side closed the connection'));
      });
      socket.once(event, () => {
        end();
      });
    });
  }

  #freed(connection: Connection): void {
    if (connection.isClosed) {
      this.#all.delete(connection);
      this.#free = this.#free.filter((one) => one !== connection);
    } else {
      connection.hold(false);
      this.#free.push(connection);
    }
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#waiting.delete(next);
    next();
  }

  close(error: unknown): void {
    for (const connection of this.#all) connection.close(error);
  }
}
