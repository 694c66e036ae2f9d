import * as z from 'zod';
import type { Answer } from './transport.js';

/** So much of an error's body is read, and so much of that is shown. */
const MAX_ERROR = 64 * 1024;
export const SHOWN = 300;

const errorSchema = z.object({ code: z.string().nullish(), message: z.string().nullish() });
const errorsSchema = z.object({ errors: z.array(errorSchema).min(1) });
/** Token services' own: https://distribution.github.io/distribution/spec/auth/oauth/ leaves it to RFC 6749, 5.2. */
const oauthSchema = z.object({ error: z.string().optional(), error_description: z.string().optional() });
const detailsSchema = z.object({ details: z.string() });

/** What the body of an error says; it may repeat secrets. Reads the body. */
export async function saidBy(answer: Answer): Promise<string> {
  try {
    const body = (await answer.read(MAX_ERROR)).toString();
    const json = tryJson(body);
    const [first] = errorsSchema.safeParse(json).data?.errors ?? [];
    const { error, error_description: why } = oauthSchema.safeParse(json).data ?? {};
    const parts = first === undefined ? [error, why] : [first.code, first.message];
    return parts.filter(Boolean).join(': ') || (detailsSchema.safeParse(json).data?.details ?? body.trim());
  } catch {
    return '';
  }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
