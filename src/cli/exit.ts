import { deniedBy } from './denied.js';
import { counted, type ErrorCode, type ImgconvError } from '../model/errors.js';

/** What to do about an error that does not say so itself. A code without a hint does not compile. */
const HINTS: Record<ErrorCode, string> = {
  USAGE: 'imgconv --help lists commands, and imgconv COMMAND --help its options',
  NAME_INVALID: 'give it another name with --rename, --tag, or a line "SOURCE TARGET" of an --images-file',
  NAME_MISSING: 'give it one: -t NAME:TAG',
  NAME_CONFLICT: 'tell them apart with --rename, --scoped or an --images-file',
  NOT_FOUND: 'check the spelling of the path and the name',
  FORMAT_UNKNOWN: 'say what it is with a prefix: imgconv --help lists them',
  FORMAT_UNSUPPORTED: 'the tool that wrote it may write an older version, or another format, too',
  DIGEST_INVALID: 'the source is damaged, or was not written by the tools for this format: fetch it again',
  DIGEST_MISMATCH: 'the source is damaged or was cut off: fetch it again',
  BLOB_MISSING: 'the source is not whole: fetch the image again',
  MANIFEST_INVALID: 'the source is damaged, or whoever made it broke the specification: fetch it again',
  DOCUMENT_INVALID: 'fix the file at the place that the message names',
  ARCHIVE_INVALID: 'the archive is damaged, or no archive of images: fetch it again',
  PLATFORM_MISSING: 'imgconv ls shows which platforms there are',
  SOURCE_CHANGED: 'wait until nothing writes to the source, then run this again',
  NO_SPACE: 'no image is left incomplete: free some space, then run this again',
  IO: 'no image is left incomplete: fix what the message names, then run this again',
  NETWORK: 'run this again: what was fetched is kept; look at the address, the network and any proxy',
  UNAUTHORIZED: 'imgconv login HOST, --authfile, --src-creds or --dest-creds give credentials',
  REGISTRY: 'run this again; if it stays so, ask who runs the registry',
  INTERRUPTED: 'run the same command again to finish',
};

const CODES = Object.keys(HINTS) as ErrorCode[];

/** The exit status of a run that fails with this code. */
export const EXIT = {
  ...(Object.fromEntries(CODES.map((code) => [code, 1])) as Record<ErrorCode, number>),
  USAGE: 2,
  INTERRUPTED: 130,
} as const satisfies Record<ErrorCode, number>;

/** What to do about it. */
export function hintOf(error: ImgconvError): string {
  return deniedBy(error)?.hint ?? error.hint ?? HINTS[error.code];
}

function messageOf(error: ImgconvError): string {
  return deniedBy(error)?.message ?? error.message;
}

/** Control characters in names from images must not reach a terminal, nor what turns the order of letters round. */
export function printable(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** The same in JSON, which is looked at on terminals too: of these JSON.stringify itself escapes the first 32 alone. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Longer messages are cut: what a hostile source says of itself must not fill a terminal. */
const MAX_LINE = 4000;

function line(text: string): string {
  return `${printable(text.length > MAX_LINE ? `${text.slice(0, MAX_LINE)}…` : text)}\n`;
}

/** The error in two lines: what happened and where, and what to do about it; with `debug` also where in the program. */
export function errorText(error: ImgconvError, debug = false): string {
  return `${line(messageOf(error))}  ${line(hintOf(error))}${debug ? chainText(error) : ''}`;
}

/** The errors of images: one that several have is said once, and so is what to do about several. */
export function failureTexts(
  failed: readonly { readonly source: string; readonly error?: ImgconvError | undefined }[],
  debug = false,
): string[] {
  const byText = new Map<string, { source: string; error: ImgconvError; count: number }>();
  for (const { source, error } of failed) {
    if (error === undefined) continue;
    const same = byText.get(messageOf(error));
    if (same === undefined) byText.set(messageOf(error), { source, error, count: 1 });
    else same.count++;
  }
  const hints = new Set<string>();
  return [...byText.values()].map(({ source, error, count }) => {
    const others = count === 1 ? '' : ` and ${counted(count - 1, 'more image')}`;
    const name = error.message.startsWith(source) ? '' : `${printable(source)}${others}: `;
    const hint = hintOf(error);
    const told = hints.has(hint);
    hints.add(hint);
    return `${name}${line(messageOf(error))}${told ? '' : `  ${line(hint)}`}${debug ? chainText(error) : ''}`;
  });
}

export function errorJson(error: ImgconvError) {
  return { code: error.code, message: messageOf(error), hint: hintOf(error) };
}

/** What `--json` gives of a command that fails as a whole; in `lines` it is an event. */
export function errorDocument(error: ImgconvError, lines = false): string {
  const document = { error: errorJson(error) };
  return `${lines ? printableJson({ event: 'error', ...document }) : printableJson(document, 2)}\n`;
}

/** The error and what caused it, down to the first, each with its code and stack. */
function chainText(error: ImgconvError): string {
  let text = `${error.code}: `;
  const told = new Set<unknown>();
  for (let one: unknown = error; one !== undefined && !told.has(one);) {
    const cause = one instanceof Error ? one.cause : undefined;
    const what =
      one instanceof Error ? (one.stack ?? one.message) : typeof one === 'string' ? one : JSON.stringify(one);
    text += `${what.split('\n').map(printable).join('\n')}\n${cause === undefined ? '' : 'caused by: '}`;
    told.add(one);
    one = cause;
  }
  return text;
}
