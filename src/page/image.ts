import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import {
  ask,
  configOf,
  json,
  manifestOf,
  platformText,
  type Config,
  type Descriptor,
  type Info,
  type Manifest,
  type Usage,
} from './registry.js';
import { say, shortDigest, sizeText } from './words.js';

interface Loaded {
  readonly digest: string;
  readonly manifest: Manifest;
  /** The images of an index, or the one. */
  readonly images: readonly {
    readonly digest: string;
    readonly platform: string;
    readonly manifest: Manifest;
    readonly config: Config | undefined;
  }[];
  readonly referrers: readonly Descriptor[];
}

async function load(repository: string, tag: string): Promise<Loaded> {
  const { digest, manifest } = await manifestOf(repository, tag);
  const members = manifest.manifests ?? [];
  const parts =
    manifest.manifests === undefined
      ? [{ digest, platform: '', manifest }]
      : await Promise.all(
          members.map(async (one) => ({
            digest: one.digest,
            platform: platformText(one),
            manifest: await memberOf(repository, one),
          })),
        );
  const images = await Promise.all(
    parts.map(async (one) => {
      const { config } = one.manifest;
      const isImage = config !== undefined && /container\.image|oci\.image\.config/.test(config.mediaType);
      return {
        ...one,
        config: isImage ? await configOf(repository, config).catch(() => undefined) : undefined,
      };
    }),
  );
  const { manifests: referrers } = await json<{ manifests: readonly Descriptor[] }>(
    `/v2/${repository}/referrers/${digest}`,
  ).catch(() => ({ manifests: [] }));
  return { digest, manifest, images, referrers };
}

/** Empty where the registry lacks the image for a platform. */
async function memberOf(repository: string, { digest }: Descriptor): Promise<Manifest> {
  try {
    return (await manifestOf(repository, digest)).manifest;
  } catch {
    return {};
  }
}

/** A command that is copied by a button. */
export function Copyable({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  return html`<span class="row">
    <code class="grow">${text}</code>
    <button
      onClick=${() => {
        void navigator.clipboard.writeText(text).then(() => {
          setCopied(true);
        });
      }}
      aria-label=${`${say(copied ? 'copied' : 'copy')}: ${text}`}
    >
      ${say(copied ? 'copied' : 'copy')}
    </button>
  </span>`;
}

/** One tag: what it is made of, and what can be done with it. */
export function Image({ name, info, gone }: { name: string; info: Info; gone: () => void }) {
  const colon = name.lastIndexOf(':');
  const [repository, tag] = [name.slice(0, colon), name.slice(colon + 1)];
  const [loaded, setLoaded] = useState<Loaded | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const [isAsking, setAsking] = useState(false);
  const [shared, setShared] = useState<Readonly<Record<string, readonly string[]>>>({});
  const [usage, setUsage] = useState<Usage | undefined>(undefined);
  useEffect(() => {
    load(repository, tag).then(setLoaded, (failure: unknown) => {
      setError((failure as Error).message);
    });
    json<Usage>('/ui/usage').then(setUsage, () => undefined);
    json<Readonly<Record<string, readonly string[]>>>(`/ui/shared/${name}`).then(setShared, () => undefined);
  }, [name]);
  const remove = () => {
    ask(`/v2/${repository}/manifests/${tag}`, { method: 'DELETE' }).then(gone, (failure: unknown) => {
      setError((failure as Error).message);
    });
  };
  const own = usage?.tags.find((one) => one.name === name);
  const platforms = (loaded?.images ?? []).map(({ platform }) => platform).filter((text) => text !== '');
  return html`<article>
    <h2>${name}</h2>
    ${error !== undefined && html`<p class="bad" role="alert">${say('failure', error)}</p>`}
    <${Copyable} text=${`docker pull ${info.host}/${name}`} />
    <p class="row">
      <a href=${`/ui/download/${name}`} download
        >${say('download')}${platforms.length > 1 ? `, ${say('downloadAll')}` : ''}</a
      >
      ${
        platforms.length > 1 &&
        platforms.map(
          (one) =>
            html`<a href=${`/ui/download/${name}?platform=${encodeURIComponent(one)}`} download>${one}</a>`,
        )
      }
    </p>
    ${loaded === undefined && error === undefined && html`<p role="status">${say('loading')}</p>`}
    ${
      loaded !== undefined &&
      html`<p>${say('digest')}: <code>${loaded.digest}</code></p>
        ${own !== undefined && html`<p class="soft">${sizeText(own.size)}; ${say('own', sizeText(own.unique))}</p>`}
        ${loaded.images.map((one) => html`<${Platform} ...${one} shared=${shared} />`)}
        ${
          loaded.referrers.length > 0 &&
          html`<h3>${say('referrers')}</h3>
            <ul class="plain">
              ${loaded.referrers.map(
                ({ artifactType, digest, size }) =>
                  html`<li>
                    ${artifactType} <code>${shortDigest(digest)}</code>
                    <span class="soft">${sizeText(size)}</span>
                  </li>`,
              )}
            </ul>`
        }`
    }
    ${
      info.writable &&
      html`<p>
        ${
          isAsking
            ? html`<span class="row" role="alertdialog" aria-label=${say('remove')}>
                <span>${say('sure', name)}</span>
                <button onClick=${remove}>${say('yes')}</button>
                <button
                  onClick=${() => {
                    setAsking(false);
                  }}
                >
                  ${say('no')}
                </button>
              </span>`
            : html`<button
                onClick=${() => {
                  setAsking(true);
                }}
              >
                ${say('remove')}
              </button>`
        }
      </p>`
    }
  </article>`;
}

function Platform({
  platform,
  digest,
  manifest,
  config,
  shared,
}: Loaded['images'][number] & { shared: Readonly<Record<string, readonly string[]>> }) {
  const layers = manifest.layers ?? [];
  const history = (config?.history ?? []).filter(({ empty_layer: empty }) => empty !== true);
  const { Cmd, Entrypoint, Env, Labels } = config?.config ?? {};
  const title =
    platform !== ''
      ? platform
      : [config?.os, config?.architecture, config?.variant].filter(Boolean).join('/');
  const runs = [...(Entrypoint ?? []), ...(Cmd ?? [])].join(' ');
  return html`<section class="card">
    <h3>${title} <code>${shortDigest(digest)}</code></h3>
    ${runs !== '' && html`<p>${say('config')}: <code>${runs}</code></p>`}
    ${(Env ?? []).map((one) => html`<div><code>${one}</code></div>`)}
    <div class="scroll" tabindex="0" role="region" aria-label=${`${say('layers')} ${title}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">${say('layers')}</th>
            <th scope="col" class="number">${say('size')}</th>
            <th scope="col">${say('made')}</th>
          </tr>
        </thead>
        <tbody>
          ${layers.map(
            (layer, i) =>
              html`<tr>
                <td>
                  <code>${shortDigest(layer.digest)}</code>
                  ${
                    (shared[layer.digest] ?? []).length > 0 &&
                    html`<div class="soft">
                      ${say('sharedWith', (shared[layer.digest] ?? []).join(', '))}
                    </div>`
                  }
                </td>
                <td class="number">${sizeText(layer.size)}</td>
                <td><code>${history[i]?.created_by ?? ''}</code></td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${
      Labels !== undefined &&
      Labels !== null &&
      html`<h3>${say('labels')}</h3>
        ${Object.entries(Labels).map(([key, value]) => html`<div><code>${key}=${value}</code></div>`)}`
    }
  </section>`;
}
