/** How registries are to be spoken to; what is undefined is as the README says. */
export interface RegistryAccess {
  /** The only file to look for credentials in, in the form of containers-auth.json(5). */
  readonly authfile?: string | undefined;
  /** `user:password` for every registry of this side. */
  readonly creds?: string | undefined;
  /** A bearer token for every registry of this side. */
  readonly registryToken?: string | undefined;
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
  /** What is otherwise for some hosts. */
  readonly hosts?: Readonly<Record<string, RegistryAccess>> | undefined;
  /** How long a registry may be silent, in milliseconds. */
  readonly idleTimeout?: number | undefined;
  /** Connections to one host at once. */
  readonly connections?: number | undefined;
}
