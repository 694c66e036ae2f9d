import type * as z from 'zod';
import { ImgconvError, type ErrorCode } from './errors.js';

/** Manifests and indexes are held in memory; more than registries take (4 MiB, distribution `maxBodySize`) is refused. */
export const MAX_MANIFEST = 4 * 1024 * 1024;
/** Configs are held in memory too. */
export const MAX_CONFIG = 8 * 1024 * 1024;

const decoder = new TextDecoder('utf-8', { fatal: true });

/** @throws ImgconvError with `code` when the bytes are not UTF-8 JSON. */
export function parseJson(bytes: Uint8Array, where: string, code: ErrorCode = 'MANIFEST_INVALID'): unknown {
  try {
    return JSON.parse(decoder.decode(bytes)) as unknown;
  } catch (cause) {
    throw new ImgconvError(
      code,
      `${where}: not JSON: ${cause instanceof Error ? cause.message : 'unreadable'}`,
      {
        cause,
      },
    );
  }
}

/** Gives untrusted data the schema's type. @throws ImgconvError with `code`, naming the place in the document. */
export function parseWith<T>(
  schema: z.ZodType<T>,
  data: unknown,
  where: string,
  code: ErrorCode = 'MANIFEST_INVALID',
): T {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const at = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.map(String).join('.')}: `;
  throw new ImgconvError(code, `${where}: ${at}${issue?.message ?? 'invalid'}`);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
