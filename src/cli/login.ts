import { createInterface } from 'node:readline';
import { readStdin } from '../bytes/files.js';
import { canonicalHost } from '../formats/docker/paths.js';
import { ImgconvError } from '../model/errors.js';
import { isHostName } from '../model/reference.js';
import { fileFor, loginFiles, loginsIn, removeLogin, storeLogin } from './auth-file.js';
import { printable } from './exit.js';
import { Interrupt } from './interrupt.js';
import { parseCount } from './quantity.js';

export interface LoginArguments {
  readonly HOST?: string;
  readonly username?: string;
  readonly password?: string;
  readonly passwordStdin?: boolean;
  readonly authfile?: string;
  readonly certDir?: string;
  readonly tlsVerify?: boolean;
  readonly insecure?: boolean;
  readonly retryTimes?: string;
}

export interface LogoutArguments {
  readonly HOST?: string;
  readonly all?: boolean;
  readonly authfile?: string;
}

/** Checks a login with the registry, and keeps it where docker and podman keep theirs. */
export async function loginCommand(args: LoginArguments): Promise<number> {
  const host = hostOf(args.HOST ?? 'docker.io');
  const pair = await pairOf(args, host);
  const { checkLogin } = await import('../formats/docker/login.js');
  using interrupt = new Interrupt();
  const access = {
    hosts: { [host]: { creds: `${pair.username}:${pair.password}` } },
    certDir: args.certDir,
    tlsVerify: args.tlsVerify ?? (args.insecure === true ? false : undefined),
    httpCredentials: args.tlsVerify === false || args.insecure === true,
    retryTimes: parseCount('retry-times', args.retryTimes, 100, 0),
  };
  await checkLogin(host, access, interrupt.signal);
  const where = storeLogin(fileFor(host, loginFiles(args.authfile)), host, pair);
  const note = where.startsWith('docker-credential-') ? '' : ', which is not encrypted';
  process.stdout.write(
    `logged in to ${host} as ${printable(pair.username)}: kept in ${printable(where)}${note}\n`,
  );
  return 0;
}

/** Forgets a login, or all. */
export function logoutCommand({ HOST, all = false, authfile }: LogoutArguments): Promise<number> {
  if (all === (HOST !== undefined))
    throw new ImgconvError('USAGE', 'logout: of which registry?', {
      hint: 'imgconv logout HOST, or imgconv logout --all',
    });
  const files = loginFiles(authfile);
  let count = 0;
  for (const path of files)
    for (const host of all ? loginsIn(path) : [hostOf(HOST ?? '')])
      for (const where of removeLogin(path, host)) {
        count++;
        process.stdout.write(`logged out of ${printable(host)}: removed from ${printable(where)}\n`);
      }
  if (count === 0)
    throw new ImgconvError('NOT_FOUND', `${HOST ?? '--all'}: no login is kept`, {
      hint: `looked in ${files.join(', ')}`,
    });
  return Promise.resolve(0);
}

/** @throws ImgconvError USAGE */
function hostOf(text: string): string {
  const host = text.replace(/^(?:docker|https?):\/\//, '').replace(/\/+$/, '');
  if (isHostName(host)) return canonicalHost(host);
  if (/^https:\/\/index\.docker\.io\/v1/.test(text)) return 'docker.io';
  throw new ImgconvError('USAGE', `${text}: not a host`, {
    hint: 'for example imgconv login registry.example.com:5000',
  });
}

async function pairOf({ username, password, passwordStdin = false }: LoginArguments, host: string) {
  if (password !== undefined && passwordStdin)
    throw new ImgconvError('USAGE', '--password and --password-stdin give two passwords', {
      hint: 'leave one of them out',
    });
  if (password !== undefined)
    process.stderr.write(
      'imgconv: warning: --password can be seen by other users of this machine: use --password-stdin\n',
    );
  if (passwordStdin && username === undefined)
    throw new ImgconvError('USAGE', '--password-stdin: --username is missing', {
      hint: `imgconv login ${host} -u USER --password-stdin`,
    });
  if (password === undefined && !passwordStdin && !process.stdin.isTTY)
    throw new ImgconvError('USAGE', 'login: there is no terminal to ask for a password', {
      hint: `imgconv login ${host} -u USER --password-stdin < FILE`,
    });
  const user = username ?? (await ask(`user of ${host}: `, true));
  const secret = passwordStdin
    ? readStdin().replace(/\r?\n$/, '')
    : (password ?? (await ask('password: ', false)));
  if (user === '' || secret === '' || user.includes(':'))
    throw new ImgconvError('USAGE', 'login: a user without a colon and a password are needed', {
      hint: 'nothing was written',
    });
  return { username: user, password: secret };
}

/** Asks on the terminal; without `echo` what is typed is not shown. */
function ask(question: string, echo: boolean): Promise<string> {
  return new Promise((resolve) => {
    const terminal = createInterface({
      input: process.stdin,
      output: echo ? process.stderr : undefined,
      terminal: true,
    });
    if (!echo) process.stderr.write(question);
    terminal.question(echo ? question : '', (answer) => {
      terminal.close();
      if (!echo) process.stderr.write('\n');
      resolve(answer);
    });
  });
}
