import type { Retry } from '../bytes/retry.js';

/** What belongs to one registry and is shown to no other. */
export interface HostAccess {
  /** `user:password`. */
  readonly creds?: string | undefined;
  /** A bearer token. */
  readonly registryToken?: string | undefined;
  /** As for all registries, below. */
  readonly certDir?: string | undefined;
  readonly tlsVerify?: boolean | undefined;
}

/** A registry, or a host that it redirects to, that sends nothing. */
export interface Waiting {
  readonly host: string;
  /** How long already. */
  readonly seconds: number;
}

/** How registries are to be spoken to; what is undefined is as the README says. */
export interface RegistryAccess {
  /** No credentials are looked for, and none are sent. */
  readonly anonymous?: boolean | undefined;
  /** The only file to look for credentials in, in the form of containers-auth.json(5). */
  readonly authfile?: string | undefined;
  /** A folder of `*.crt`, `*.cert` and `*.key` in place of those in certs.d. */
  readonly certDir?: string | undefined;
  /** False: certificates are not checked, and plain HTTP will do. True: not even on this machine. */
  readonly tlsVerify?: boolean | undefined;
  /** So often a request or a download is tried again after a failure that may pass. */
  readonly retryTimes?: number | undefined;
  /** The first wait before another try, in milliseconds; each further one is longer. */
  readonly retryDelay?: number | undefined;
  /** URLs to pull from first, by the host that they stand for. */
  readonly mirrors?: Readonly<Record<string, string>> | undefined;
  /** By the host as references have it, with its port; a mirror's by the host of its URL. */
  readonly hosts?: Readonly<Record<string, HostAccess>> | undefined;
  /** Credentials may be sent over plain HTTP to other machines than this one. */
  readonly httpCredentials?: boolean | undefined;
  /** How long a registry may be silent, in milliseconds. */
  readonly idleTimeout?: number | undefined;
  /** Called before each repetition of a failed request. */
  readonly onRetry?: ((retry: Retry) => void) | undefined;
  /** Called each ten seconds while a host that was asked for something sends nothing. */
  readonly onWaiting?: ((waiting: Waiting) => void) | undefined;
  /** Which side of the command line's options this is for: hints then name them, `--src-tls-verify`. */
  readonly side?: 'src' | 'dest' | undefined;
  /** Connections to one host at once. */
  readonly connections?: number | undefined;
}
