/* What the page asks the registry for: the API of the distribution-spec, and a little below /ui/. */

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Manifest {
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
}

export interface Config {
  readonly created?: string;
  readonly architecture?: string;
  readonly os?: string;
  readonly variant?: string;
  readonly config?: {
    readonly Cmd?: readonly string[] | null;
    readonly Entrypoint?: readonly string[] | null;
    readonly Env?: readonly string[] | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
  };
  readonly history?: readonly { readonly created_by?: string; readonly empty_layer?: boolean }[];
}

export interface Info {
  readonly writable: boolean;
  readonly host: string;
}

export interface Usage {
  readonly tags: readonly {
    readonly name: string;
    readonly digest: string;
    readonly size: number;
    readonly unique: number;
  }[];
  readonly size: number;
  readonly cut: boolean;
}

const ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  '*/*;q=0.1',
].join(', ');

/** @throws Error with the registry's words */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, init);
  if (response.ok) return response;
  const text = await response.text();
  let said = `${response.status}`;
  try {
    const { errors } = JSON.parse(text) as { errors: { message: string }[] };
    said = errors[0]?.message ?? said;
  } catch {
    // Not the registry's own answer.
  }
  throw new Error(said);
}

export async function json<T>(path: string): Promise<T> {
  return (await (await ask(path)).json()) as T;
}

/** Repositories, sorted. */
export async function repositories(): Promise<string[]> {
  return (await json<{ repositories: string[] }>('/v2/_catalog')).repositories;
}

export async function tagsOf(repository: string): Promise<string[]> {
  return (await json<{ tags: string[] | null }>(`/v2/${repository}/tags/list`)).tags ?? [];
}

export async function manifestOf(
  repository: string,
  reference: string,
): Promise<{ digest: string; size: number; manifest: Manifest }> {
  const response = await ask(`/v2/${repository}/manifests/${reference}`, { headers: { accept: ACCEPT } });
  const text = await response.text();
  const digest = response.headers.get('docker-content-digest') ?? '';
  return { digest, size: text.length, manifest: JSON.parse(text) as Manifest };
}

export function configOf(repository: string, { digest }: Descriptor): Promise<Config> {
  return json<Config>(`/v2/${repository}/blobs/${digest}`);
}

/** An answer of a line of JSON for each event. Gives the result. @throws Error */
export async function work<T>(
  path: string,
  body: unknown,
  hears: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<T> {
  const response = await ask(path, {
    method: 'POST',
    body: JSON.stringify(body ?? {}),
    ...(signal && { signal }),
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    rest += value ?? '';
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = JSON.parse(line) as { bytes?: number; result?: T; error?: string };
      if (event.bytes !== undefined) hears(event.bytes);
      if (event.error !== undefined) throw new Error(event.error);
      if ('result' in event) return event.result;
    }
    if (done) throw new Error('the answer broke off');
  }
}

export function platformText({ platform }: Descriptor): string {
  if (platform === undefined || platform.os === 'unknown') return '';
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/');
}
