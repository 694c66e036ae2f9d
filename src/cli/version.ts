import { printableJson } from './exit.js';

export interface VersionArguments {
  readonly json?: boolean;
}

/** The version of imgconv; as JSON also that of Node, for reports of faults. */
export function versionCommand({ json }: VersionArguments, version: string): Promise<number> {
  const { node } = process.versions;
  const platform = `${process.platform}/${process.arch}`;
  process.stdout.write(json === true ? `${printableJson({ version, node, platform }, 2)}\n` : `${version}\n`);
  return Promise.resolve(0);
}
