import { Transient } from '../../bytes/retry.js';
import { ImgconvError } from '../../model/errors.js';
import type { RegistryAccess } from '../access.js';

/** Failures that will not pass. */
const LASTING = new Set([
  ...['ENOTFOUND', 'EPROTO', 'ABORT_ERR', 'HTTP_REQUEST'],
  // Of what proxies are reached with.
  ...['UND_ERR_INVALID_ARG', 'UND_ERR_ABORTED', 'UND_ERR_DESTROYED', 'UND_ERR_CLOSED'],
]);

/** Failures to connect to a host, which are the same for each image: what to say of it, and what to do about it. */
const UNREACHED: Readonly<Record<string, readonly [why: string, hint: string]>> = {
  ENOTFOUND: [
    'the name does not resolve',
    'check the spelling of the host, then the name servers of this machine (/etc/resolv.conf) and /etc/hosts',
  ],
  EAI_AGAIN: [
    'the name does not resolve: no name server answers',
    'check the network and the name servers of this machine (/etc/resolv.conf)',
  ],
  ECONNREFUSED: [
    'connection refused',
    'check that the registry runs, and that the host and the port are right',
  ],
  EHOSTUNREACH: ['no route to the host', 'check the network, the address and any VPN'],
  ENETUNREACH: ['the network is unreachable', 'check the network, the address and any VPN'],
  ETIMEDOUT: [
    'no connection: timed out',
    'check the address, firewalls and any proxy (HTTPS_PROXY, NO_PROXY); finished images stay',
  ],
};

/** The option of the command line, or the field of the library. */
function optionOf({ side }: RegistryAccess, name: 'tls-verify' | 'cert-dir'): string {
  if (side !== undefined) return `--${side}-${name}${name === 'tls-verify' ? '=false' : ' FOLDER'}`;
  return name === 'tls-verify' ? 'tlsVerify: false' : 'certDir';
}

/** What a failed request means. @returns Transient NETWORK; ImgconvError NETWORK for failures that will not pass */
export function networkError(where: string, error: unknown, url: URL, access: RegistryAccess): unknown {
  if (error instanceof ImgconvError || error instanceof Transient) return error;
  // Not from the network: a fault of ours.
  if (!(error instanceof Error) || !('code' in error)) return error;
  const cause = error;
  // A happy-eyeballs failure holds one error for each address.
  const own = cause instanceof AggregateError && cause.errors[0] instanceof Error ? cause.errors[0] : cause;
  const code = String(error.code);
  // Where a request was redirected to is said with the request.
  const host = where.includes(': redirected to ') ? where : url.host;
  if (isNotTls(code, own.message))
    return new ImgconvError('NETWORK', `${host} speaks plain HTTP, not HTTPS`, {
      cause,
      hint: `add ${optionOf(access, 'tls-verify')}`,
    });
  const unreached = UNREACHED[code === 'UND_ERR_CONNECT_TIMEOUT' ? 'ETIMEDOUT' : code];
  // A connection that was there, and then was lost, has no address in its error.
  const isConnecting = 'syscall' in own && /^(?:connect|getaddrinfo)$/.test(String(own.syscall));
  if (unreached !== undefined && (isConnecting || code === 'UND_ERR_CONNECT_TIMEOUT')) {
    const address = code === 'ECONNREFUSED' && 'address' in own ? addressOf(own) : host;
    const at = address === host ? '' : ` (${address})`;
    const known = new ImgconvError('NETWORK', `${host}: ${unreached[0]}${at}`, { cause, hint: unreached[1] });
    return LASTING.has(code) ? known : new Transient(known);
  }
  const known = new ImgconvError('NETWORK', `${where}: ${own.message || code}`, { cause });
  return isOfTls(code) || LASTING.has(code) ? known : new Transient(known);
}

function addressOf(error: Error & { readonly address?: unknown; readonly port?: unknown }): string {
  const address = String(error.address);
  return `${address.includes(':') ? `[${address}]` : address}:${String(error.port)}`;
}

/** OpenSSL takes the beginning of `HTTP/1.1 400` for a record of another TLS. */
function isNotTls(code: string, message: string): boolean {
  return /^(?:ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST)|EPROTO)$/.test(code)
    ? code !== 'EPROTO' || /wrong version number|packet length too long|http request/.test(message)
    : false;
}

function isCertificate(code: string): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO_/.test(code);
}

function isOfTls(code: string): boolean {
  return isCertificate(code) || code.startsWith('ERR_TLS') || code.startsWith('ERR_SSL_');
}

/** A refused certificate's error does not show the certificate: it is asked for again, where no proxy is between. */
export async function withCertificate(
  error: unknown,
  url: URL,
  proxy: string | undefined,
  access: RegistryAccess,
): Promise<unknown> {
  if (!(error instanceof ImgconvError) || !(error.cause instanceof Error) || !('code' in error.cause))
    return error;
  const code = String(error.cause.code);
  if (!isCertificate(code)) return error;
  const { certificateOf, whyRefused } = await import('./certificate.js');
  const certificate = proxy === undefined ? await certificateOf(url) : undefined;
  const caFlag = `${optionOf(access, 'cert-dir')} with it as ca.crt`;
  const anyway = `${optionOf(access, 'tls-verify')} takes any certificate`;
  const [why, hint] = whyRefused(code, url, certificate, caFlag) ?? [
    error.cause.message,
    `for a CA of your own: ${caFlag}, or /etc/containers/certs.d/${url.host}/ca.crt`,
  ];
  return new ImgconvError('NETWORK', `${url.host}: ${why}`, {
    cause: error.cause,
    hint: `${hint}; ${anyway}`,
  });
}
