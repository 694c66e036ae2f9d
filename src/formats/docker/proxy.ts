import { BlockList, isIP } from 'node:net';

/**
 * The proxy for a URL, from the usual variables in lower or upper case; undefined for none. NO_PROXY is read as by Go's
 * httpproxy: hosts with their subdomains, with a port or without, addresses, CIDR blocks, `*` for all.
 */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): string | undefined {
  const variable = (name: string) => env[name.toLowerCase()] || env[name] || undefined;
  const proxy = variable(url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
  if (proxy === undefined) return undefined;
  const exceptions = (variable('NO_PROXY') ?? '').split(',').map((one) => one.trim().toLowerCase());
  if (exceptions.some((one) => one !== '' && isExcepted(url, one))) return undefined;
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

function isExcepted(url: URL, exception: string): boolean {
  if (exception === '*') return true;
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const [, address = '', bits] = /^([0-9a-f.:]+)\/(\d+)$/.exec(exception) ?? [];
  const family = isIP(address);
  if (family !== 0) {
    if (isIP(host) !== family) return false;
    const block = new BlockList();
    block.addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
    return block.check(host, family === 4 ? 'ipv4' : 'ipv6');
  }
  const [, name = exception, port] = /^(.*?):(\d+)$/.exec(exception) ?? [];
  const own = url.port || (url.protocol === 'https:' ? '443' : '80');
  if (port !== undefined && isIP(exception) === 0 && port !== own) return false;
  const domain = (isIP(exception) === 0 ? name : exception).replace(/^\*?\./, '');
  return host === domain || (isIP(host) === 0 && host.endsWith(`.${domain}`));
}
