import { registryOptions } from './registry-options.js';
import { FLAG, grouped, REPEATABLE, VALUE, type OptionTable } from './syntax.js';

export function serveOptions(): OptionTable {
  return {
    listen: {
      ...VALUE,
      value: 'host:port',
      describe: 'address (default: 127.0.0.1:5000, this machine alone)',
    },
    writable: { ...FLAG, describe: 'take pushes into the first place, registry storage or a layout' },
    prefix: { ...REPEATABLE, value: 'name=place', describe: 'serve a place below this name' },
    'max-upload': { ...VALUE, value: 'size', describe: 'largest blob that is taken (default: 100G)' },
    sparse: { ...FLAG, describe: 'take manifests some of whose layers or members are absent' },
    cache: {
      ...VALUE,
      value: 'folder',
      describe: 'keep here what is fetched from other registries or compressed',
    },
    compression: {
      choices: ['keep', 'gzip'],
      describe: 'gzip: compress layers that lie uncompressed, once, into the cache',
    },
    log: { choices: ['text', 'json', 'none'], describe: 'access log on stdout (default: text)' },
    ...grouped('Access:', {
      htpasswd: { ...VALUE, value: 'file', describe: 'who may read and write, as htpasswd -B writes it' },
      'htpasswd-read': { ...VALUE, value: 'file', describe: 'who may only read' },
      'read-token': {
        ...VALUE,
        value: 'file',
        describe: 'a token that may read: a bearer token, or the password of any user',
      },
      'anonymous-read': { ...FLAG, describe: 'let everybody read' },
      'tls-cert': { ...VALUE, value: 'file', describe: 'certificate and its chain (PEM)' },
      'tls-key': { ...VALUE, value: 'file', describe: 'its key (PEM)' },
    }),
    ...registryOptions(['src']),
  };
}
