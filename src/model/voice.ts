/** Options of the command line that the library calls otherwise; others have the same name in camel case. */
const OPTIONS: Readonly<Record<string, string>> = {
  platform: 'platforms',
  'compression-level': 'level',
  'images-file': 'selectors',
  'dry-run': 'dryRun',
  'src-tls-verify': 'sourceAccess.tlsVerify',
  'dest-tls-verify': 'targetAccess.tlsVerify',
  'src-creds': 'sourceAccess.hosts',
  'dest-creds': 'targetAccess.hosts',
  'src-cert-dir': 'sourceAccess.certDir',
  'dest-cert-dir': 'targetAccess.certDir',
  'allow-http-credentials': 'httpCredentials',
  'registry-mirror': 'mirrors',
};
/** Commands by what the library has for them. */
const COMMANDS: readonly (readonly [RegExp, string])[] = [
  [/\bimgconv --help lists (?:them|the formats)/g, 'FORMATS lists them'],
  [/\bimgconv ls\b/g, 'listImages'],
  [/\bimgconv inspect\b/g, 'inspectImages'],
  [/\bimgconv verify\b/g, 'verify'],
  [/\bimgconv gc\b/g, 'collectGarbage'],
];

let isCommand = false;

/** From now on errors speak of options as the command line writes them, `--no-extras`, and not as the library does, `extras: false`. */
export function speakAsCommand(): void {
  isCommand = true;
}

/** A message or hint, which is written for the command line, in the words of whoever runs this. */
export function voiced(text: string): string {
  if (isCommand) return text;
  let voice = text;
  for (const [command, name] of COMMANDS) voice = voice.replace(command, name);
  return voice.replace(
    /(?<=^|[\s(,;:])--(no-)?([a-z]+(?:-[a-z]+)*)(?:=(true|false)\b)?(?: (keep|gzip|zstd|none|auto|refuse|prune|sparse)\b)?/g,
    (_, no: string | undefined, flag: string, set: string | undefined, choice: string | undefined) => {
      const name = OPTIONS[flag] ?? flag.replace(/-([a-z])/g, (__, letter: string) => letter.toUpperCase());
      if (no !== undefined) return `${name}: false`;
      if (set !== undefined) return `${name}: ${set}`;
      return choice === undefined ? name : `${name}: '${choice}'`;
    },
  );
}
