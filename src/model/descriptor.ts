import * as z from 'zod';
import { isDigest, type Digest } from './digest.js';
import type { Platform } from './platform.js';

/** OCI image-spec descriptor.md: how anything names bytes. `size` is in bytes. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly urls?: readonly string[] | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly platform?: Platform | undefined;
  readonly artifactType?: string | undefined;
}

/** A descriptor, or the digest alone where that is all there is. */
export type PartialDescriptor = Pick<Descriptor, 'digest'> & Partial<Descriptor>;

/** @internal */
export const digestSchema = z
  .string()
  .refine((text): text is Digest => isDigest(text), { message: 'not a sha256, sha384 or sha512 digest' });

/** Docker manifests may say `null` where OCI leaves a field out. @internal */
export function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}

/** As `z.array`, but stops at the first wrong item: issues for two million of them, as a manifest can hold, take gigabytes. @internal */
export function arrayOf<T extends z.ZodType>(schema: T) {
  return z.array(z.unknown()).transform((items, context): z.output<T>[] => {
    const parsed: z.output<T>[] = [];
    for (const [i, item] of items.entries()) {
      const result = schema.safeParse(item);
      if (!result.success) {
        for (const issue of result.error.issues)
          context.issues.push({ ...issue, code: 'custom', path: [i, ...issue.path], input: item });
        return z.NEVER;
      }
      parsed.push(result.data);
    }
    return parsed;
  });
}

/** Go's encoding/json writes `null` for a list that was never filled, and reads it as an empty one. @internal */
export function listOf<T extends z.ZodType>(schema: T) {
  return arrayOf(schema)
    .nullable()
    .transform((value) => value ?? []);
}

/** @internal */
export const annotationsSchema = optional(z.record(z.string(), z.string()));

/** @internal */
export const descriptorSchema: z.ZodType<Descriptor> = z.object({
  mediaType: z.string().min(1).max(255),
  digest: digestSchema,
  size: z.int().nonnegative(),
  urls: optional(arrayOf(z.string())),
  annotations: annotationsSchema,
  platform: optional(z.object({ os: z.string(), architecture: z.string(), variant: optional(z.string()) })),
  artifactType: optional(z.string()),
});
