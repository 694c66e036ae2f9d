import { homedir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { pathExists, listFolder, readBytes } from '../../bytes/files.js';
import { ImgconvError } from '../../model/errors.js';
import type { RegistryAccess } from '../access.js';

/** Where systems keep the CAs they trust (Go crypto/x509 root_linux.go); Node has its own where there is none. */
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** containers-certs.d(5), then Docker's. */
function certFolders(host: string): string[] {
  return [join(homedir(), '.config/containers'), '/etc/containers', '/etc/docker'].map((folder) =>
    join(folder, 'certs.d', host),
  );
}

export interface TlsOptions {
  readonly rejectUnauthorized: boolean;
  readonly secureContext: SecureContext;
}

/**
 * One context for all connections to a host: making one reads every CA. `shows`: it may be shown the client's certificate.
 * @throws ImgconvError USAGE for files that are no certificates
 */
export function tlsFor(host: string, { certDir, tlsVerify }: RegistryAccess, shows: boolean): TlsOptions {
  const folder = certDir ?? certFolders(host).find(pathExists);
  const { ca, cert, key } = folder === undefined ? NONE : readCertificates(folder);
  try {
    const secureContext = createSecureContext({
      ca: [...systemRoots(), ...ca],
      ...(shows && cert !== undefined && { cert, key }),
      minVersion: 'TLSv1.2',
    });
    return { rejectUnauthorized: tlsVerify !== false, secureContext };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ImgconvError('USAGE', `${folder ?? host}: no certificates that can be used: ${why}`, { cause });
  }
}

const NONE = { ca: [], cert: undefined, key: undefined };

function systemRoots(): readonly (string | Buffer)[] {
  const path = [process.env['SSL_CERT_FILE'], ...SYSTEM_ROOTS].find((one) => one && pathExists(one));
  return path === undefined ? rootCertificates : [readBytes(path)];
}

/** `*.crt` are CAs, `*.cert` with a `*.key` of the same name is the client's certificate. @throws ImgconvError USAGE without the key */
function readCertificates(folder: string) {
  let names: string[];
  try {
    names = listFolder(folder).map(({ name }) => name);
  } catch (cause) {
    throw new ImgconvError('USAGE', `${folder}: cannot be read as a folder of certificates`, { cause });
  }
  const read = (name: string) => readBytes(join(folder, name));
  const client = names.find((name) => name.endsWith('.cert'));
  const key = client?.replace(/\.cert$/, '.key');
  if (key !== undefined && !names.includes(key))
    throw new ImgconvError('USAGE', `${join(folder, key)}: not there, and there is ${client ?? ''}`);
  return {
    ca: names.filter((name) => name.endsWith('.crt')).map(read),
    cert: client && read(client),
    key: key && read(key),
  };
}

/** This machine: nobody can read what is sent to it. */
export function isLoopback(hostname: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/i.test(hostname);
}

/** This machine or one of its containers by name, as with k3d. No secrets are sent there: a name server may resolve the name. */
export function isLocal(hostname: string): boolean {
  return isLoopback(hostname) || /.\.localhost$/i.test(hostname);
}
