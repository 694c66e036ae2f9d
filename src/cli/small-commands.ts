import type { CompletionArguments } from './completion.js';
import type { DigestArguments } from './digest.js';
import type { UsageArguments } from './du.js';
import type { ListTagsArguments } from './list-tags.js';
import type { LoginArguments, LogoutArguments } from './login.js';
import { conversionOptions } from './options.js';
import { registryOptions } from './registry-options.js';
import type { RemoveArguments } from './rm.js';
import { FLAG, VALUE, type Command } from './syntax.js';
import type { TagArguments } from './tag.js';
import type { TreeArguments } from './tree.js';
import type { VersionArguments } from './version.js';

const JSON_DOCUMENT = { ...FLAG, describe: 'print JSON' };
const PLATFORM = { ...VALUE, value: 'os/arch', describe: 'of the image for this platform' };

/** Commands that look at images, or change one name. */
export const SMALL_COMMANDS: readonly Command[] = [
  {
    name: 'list-tags',
    operands: '<SRC> [REPOSITORY]',
    describe: 'List the tags of a repository; --json as skopeo list-tags prints them',
    example: 'imgconv list-tags docker://quay.io/org/app',
    get options() {
      return { json: JSON_DOCUMENT, ...registryOptions(['src']) };
    },
    run: async (args: ListTagsArguments) => (await import('./list-tags.js')).listTagsCommand(args),
  },
  {
    name: 'digest',
    operands: '<SRC> [REF..]',
    describe: 'Print the digest of an image',
    example: 'imgconv digest docker://quay.io/org/app:1.0',
    get options() {
      return { platform: PLATFORM, json: JSON_DOCUMENT, ...registryOptions(['src']) };
    },
    run: async (args: DigestArguments) => (await import('./digest.js')).digestCommand(args),
  },
  {
    name: 'tree',
    operands: '<SRC> [REF..]',
    describe: 'Show what images are made of: platforms, layers, what they share, and what is attached',
    example: 'imgconv tree ./store app:1.0',
    get options() {
      return {
        trunc: { ...FLAG, default: true, shown: 'no-trunc', describe: 'do not cut lines' },
        json: JSON_DOCUMENT,
        ...registryOptions(['src']),
      };
    },
    run: async (args: TreeArguments) => (await import('./tree.js')).treeCommand(args),
  },
  {
    name: 'du',
    operands: '<SRC>',
    describe: 'Show how much space each repository takes, and how much of that it alone needs',
    example: 'imgconv du ./store',
    get options() {
      return { json: JSON_DOCUMENT, ...registryOptions(['src']) };
    },
    run: async (args: UsageArguments) => (await import('./du.js')).duCommand(args),
  },
  {
    name: 'tag',
    operands: '<SRC> <REF_OR_NAME..>',
    shownOperands: '<SRC> [REF] <NAME>',
    describe:
      'Give an image another name in its store or registry: tag STORE REF NAME, or tag docker://HOST/APP:1 NAME',
    example: 'imgconv tag ./store app:1.0 app:stable',
    get options() {
      const { overwrite, quiet, json } = conversionOptions();
      return { overwrite, quiet, json, ...registryOptions(['src', 'dest']) };
    },
    run: async (args: TagArguments) => (await import('./tag.js')).tagCommand(args),
  },
  {
    name: 'rm',
    operands: '<SRC> [REF..]',
    describe: 'Remove a tag, or an image by its digest, from a store or a registry',
    example: 'imgconv rm ./store app:1.0',
    get options() {
      return {
        'dry-run': { ...FLAG, describe: 'say what would be removed, and remove nothing' },
        ...registryOptions(['src']),
      };
    },
    run: async (args: RemoveArguments) => (await import('./rm.js')).rmCommand(args),
  },
  {
    name: 'login',
    operands: '[HOST]',
    describe: 'Check a login with a registry, and keep it where docker and podman do (default: docker.io)',
    example: 'imgconv login registry.example.com -u ann --password-stdin < password.txt',
    options: {
      username: { ...VALUE, value: 'user', alias: 'u', describe: 'the account' },
      password: {
        ...VALUE,
        value: 'password',
        alias: 'p',
        describe: 'other users of this machine can see it',
      },
      'password-stdin': { ...FLAG, describe: 'read the password from stdin' },
      authfile: { ...VALUE, value: 'file', describe: 'where to keep it' },
      'cert-dir': {
        ...VALUE,
        value: 'folder',
        describe: 'CAs (*.crt) and client certificate (*.cert, *.key)',
      },
      'tls-verify': {
        ...FLAG,
        shown: 'tls-verify=false',
        describe: 'accept any certificate, and plain HTTP',
      },
      insecure: { ...FLAG, hidden: true, describe: 'the same, as crane has it' },
      'retry-times': { ...VALUE, value: 'n', describe: 'retries after a network failure (default: 3)' },
    },
    run: async (args: LoginArguments) => (await import('./login.js')).loginCommand(args),
  },
  {
    name: 'logout',
    operands: '[HOST]',
    describe: 'Forget the login to a registry',
    example: 'imgconv logout registry.example.com',
    options: {
      all: { ...FLAG, alias: 'a', describe: 'all logins' },
      authfile: { ...VALUE, value: 'file', describe: 'where it is kept' },
    },
    run: async (args: LogoutArguments) => (await import('./login.js')).logoutCommand(args),
  },
  {
    name: 'completion',
    operands: '<SHELL>',
    describe: 'Print a completion script for bash, zsh or fish',
    example: 'source <(imgconv completion bash)',
    options: {},
    run: async ({ SHELL }: CompletionArguments, { commands }) => {
      const { completionText, expectShell } = await import('./completion.js');
      expectShell(SHELL);
      process.stdout.write(completionText(SHELL, commands));
      return 0;
    },
  },
  {
    name: 'version',
    operands: '',
    describe: 'Print the version',
    example: 'imgconv version --json',
    options: { json: { ...FLAG, describe: 'print JSON, with the version of Node' } },
    run: async (args: VersionArguments, { version }) =>
      (await import('./version.js')).versionCommand(args, version),
  },
];
