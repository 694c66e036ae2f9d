import { findReferences } from '../discover/find.js';
import type { Findings, Spot } from '../discover/findings.js';
import { readStdin } from '../bytes/files.js';
import { errorJson, errorText, printable, printableJson } from './exit.js';

export interface ImagesArguments {
  readonly PATH: readonly string[];
  readonly why?: boolean;
  readonly json?: boolean;
  readonly env?: boolean;
  readonly allowOutside?: boolean;
  readonly debug?: boolean;
}

/** Which images do these files need? The list on stdout, what could not be determined and what failed on stderr. */
export async function imagesCommand(args: ImagesArguments): Promise<number> {
  const { PATH, why = false, json = false, env = false, allowOutside = false, debug = false } = args;
  const findings = await findReferences(PATH, {
    environment: process.env,
    variables: env ? process.env : undefined,
    allowOutside,
    stdin: readStdin,
  });
  process.stdout.write(json ? jsonText(findings) : listText(findings, why));
  for (const { reason, ...spot } of findings.unknowns)
    process.stderr.write(`imgconv: not determined: ${printable(`${spotText(spot)}: ${reason}`)}\n`);
  for (const error of findings.failures) process.stderr.write(`imgconv: ${errorText(error, debug)}`);
  return findings.failures.length > 0 ? 1 : 0;
}

function spotText({ file, line, field }: Spot): string {
  return `${file}${line === undefined ? '' : `:${line}`}${field === '' ? '' : ` ${field}`}`;
}

/** What `--images-file` takes: the reasons are comments to it. */
function listText(findings: Findings, why: boolean): string {
  return findings
    .images()
    .flatMap(({ reference, uses }) => [
      reference,
      ...(why ? uses.map((use) => `  # ${printable(spotText(use))}`) : []),
    ])
    .map((line) => `${line}\n`)
    .join('');
}

function jsonText(findings: Findings): string {
  const spot = ({ file, line, field }: Spot) => ({ file, line, field });
  const document = {
    images: findings.images().map(({ reference, uses }) => ({ reference, uses: uses.map(spot) })),
    unknown: findings.unknowns.map((one) => ({ ...spot(one), reason: one.reason })),
    errors: findings.failures.map(errorJson),
  };
  return `${printableJson(document, 2)}\n`;
}
