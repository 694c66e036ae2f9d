import * as z from 'zod';
import { ImgconvError } from '../../model/errors.js';
import { parseJson, parseWith } from '../../model/json.js';

const text = z.string().nullish();
const errorSchema = z.object({ message: z.string() });
/** A line of an answer that may end with an error (moby pkg/jsonmessage). */
const lineSchema = z.object({
  stream: text,
  error: text,
  errorDetail: z.object({ message: text }).nullish(),
});

/** What the engine prints after `Loaded image: ` and `Loaded image ID: `. */
export type LoadAnswer = Readonly<Record<'references' | 'ids', readonly string[]>>;

/** What the engine says in `{"message": …}`, or the beginning of another text. */
export function wordsOf(bytes: Buffer): string {
  try {
    return errorSchema.parse(parseJson(bytes, '')).message;
  } catch {
    return bytes.toString().trim().slice(0, 500);
  }
}

export function refusal(what: string, words: string, status?: number): ImgconvError {
  const known = status === 404 ? 'NOT_FOUND' : [401, 403].includes(status ?? 0) ? 'UNAUTHORIZED' : 'REGISTRY';
  const code = /no space left on device/.test(words) ? 'NO_SPACE' : known;
  return new ImgconvError(code, `${what}: ${words}`, {
    hint: 'this is the answer of the engine: its log may say more (journalctl -u docker)',
  });
}

/** @throws ImgconvError for an error in any line */
export function loadedOf(bytes: Buffer, what: string): LoadAnswer {
  const references: string[] = [];
  const ids: string[] = [];
  for (const [line] of bytes.toString().matchAll(/.*\S.*/g)) {
    const json = parseJson(Buffer.from(line), what, 'REGISTRY');
    const { stream, error, errorDetail } = parseWith(lineSchema, json, what, 'REGISTRY');
    if (errorDetail ?? error) throw refusal(what, errorDetail?.message || error || 'failed');
    for (const [, isId, loaded = ''] of (stream ?? '').matchAll(/^Loaded image( ID)?: (.*?)\s*$/gm))
      // Podman writes all in one line.
      (isId === undefined ? references : ids).push(...loaded.split(','));
  }
  return { references, ids };
}
