import { connect, type PeerCertificate } from 'node:tls';

const CONNECT_MS = 5000;

/** The certificate that a server shows, whoever signed it; nothing else is said to that server. */
export function certificateOf({ hostname, port }: URL): Promise<PeerCertificate | undefined> {
  const host = hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    const isName = /[a-z]/i.test(host) && !host.includes(':');
    const socket = connect({
      host,
      port: Number(port || 443),
      rejectUnauthorized: false,
      timeout: CONNECT_MS,
      ...(isName && { servername: host }),
    });
    const done = (certificate?: PeerCertificate) => {
      socket.destroy();
      resolve(certificate);
    };
    socket.once('secureConnect', () => {
      done(socket.getPeerCertificate());
    });
    socket.once('error', () => {
      done();
    });
    socket.once('timeout', () => {
      done();
    });
  });
}

function nameText(name: PeerCertificate['subject']): string {
  const text = Object.entries(name)
    .map(([key, value]) => `${key}=${[value].flat().join('+')}`)
    .join(', ');
  return text === '' ? 'without a name' : text;
}

/** Why the certificate is refused, and what helps; undefined for what the error itself says best. */
export function whyRefused(
  code: string,
  { host, hostname }: URL,
  certificate: PeerCertificate | undefined,
  caFlag: string,
): readonly [why: string, hint: string] | undefined {
  if (certificate === undefined || Object.keys(certificate).length === 0) return undefined;
  const { subject, issuer, valid_from: from, valid_to: to, subjectaltname: names } = certificate;
  const whose = `its certificate (${nameText(subject)})`;
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return [
      `${whose} ${code === 'CERT_HAS_EXPIRED' ? `expired on ${dayOf(to)}` : `is valid only from ${dayOf(from)}`}`,
      'renew the certificate, or set the clock of this machine right',
    ];
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return [
      `${whose} is for ${names?.replace(/\b(?:DNS|IP Address):/g, '') ?? 'no host'}, not for ${hostname}`,
      'use a name that the certificate has',
    ];
  if (!/SELF_SIGNED|UNABLE_TO_/.test(code)) return undefined;
  const ca = `${caFlag}, or /etc/containers/certs.d/${host}/ca.crt`;
  return code === 'DEPTH_ZERO_SELF_SIGNED_CERT'
    ? [`${whose} is signed by itself`, `if that is right, give it as a CA: ${ca}`]
    : [
        `${whose} is signed by a CA that this machine does not know: ${nameText(issuer)}`,
        `give that CA: ${ca}`,
      ];
}

function dayOf(text: string): string {
  const time = Date.parse(text);
  return Number.isNaN(time) ? text : new Date(time).toISOString().slice(0, 10);
}
