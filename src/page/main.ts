import { render } from 'preact';
import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import { Copyable, Image } from './image.js';
import { json, repositories, tagsOf, work, type Info, type Usage } from './registry.js';
import { Uploads } from './upload.js';
import { CHINESE, say, sizeText } from './words.js';

/** Repositories that are shown at once: more are found by searching. */
const SHOWN = 200;

function useHash(): string {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const change = () => {
      setHash(location.hash);
    };
    addEventListener('hashchange', change);
    return () => {
      removeEventListener('hashchange', change);
    };
  }, []);
  return decodeURIComponent(hash.slice(1));
}

function App() {
  const [info, setInfo] = useState<Info | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const [turn, setTurn] = useState(0);
  const hash = useHash();
  useEffect(() => {
    json<Info>('/ui/info').then(setInfo, (failure: unknown) => {
      setError((failure as Error).message);
    });
  }, []);
  const show = () => {
    setTurn((now) => now + 1);
  };
  const isImage = hash.startsWith('image/');
  return html`<main>
    <header>
      <h1>${say('title')}</h1>
      <nav aria-label=${say('title')}>
        <a href="#">${say('images')}</a>
        <a href="#usage">${say('usage')}</a>
        ${info?.writable === true && html`<a href="#care">${say('care')}</a>`}
      </nav>
    </header>
    ${error !== undefined && html`<p class="bad" role="alert">${say('failure', error)}</p>`}
    ${
      info !== undefined &&
      html`
        <div hidden=${hash !== ''}>
          ${info.writable && html`<${Uploads} done=${show} />`}
          ${hash === '' && html`<${List} key=${turn} host=${info.host} />`}
        </div>
        ${
          isImage &&
          html`<${Image}
            key=${hash}
            name=${hash.slice('image/'.length)}
            info=${info}
            gone=${() => {
              show();
              location.hash = '';
            }}
          />`
        }
        ${hash === 'usage' && html`<${Space} />`} ${hash === 'care' && info.writable && html`<${Care} />`}
      `
    }
  </main>`;
}

function List({ host }: { host: string }) {
  const [names, setNames] = useState<readonly string[] | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const [wanted, setWanted] = useState('');
  useEffect(() => {
    repositories().then(setNames, (failure: unknown) => {
      setError((failure as Error).message);
    });
  }, []);
  const found = (names ?? []).filter((name) => name.includes(wanted.toLowerCase()));
  return html`<section aria-labelledby="images">
    <h2 id="images">${say('images')}</h2>
    ${error !== undefined && html`<p class="bad" role="alert">${say('failure', error)}</p>`}
    ${names === undefined && error === undefined && html`<p role="status">${say('loading')}</p>`}
    ${names?.length === 0 && html`<p>${say('empty')}</p>`}
    ${
      (names?.length ?? 0) > 0 &&
      html`<input
        type="search"
        aria-label=${say('search')}
        placeholder=${say('search')}
        value=${wanted}
        onInput=${(event: Event) => {
          setWanted((event.target as HTMLInputElement).value);
        }}
      />`
    }
    ${names !== undefined && names.length > 0 && found.length === 0 && html`<p role="status">${say('noMatch')}</p>`}
    ${found.slice(0, SHOWN).map((name) => html`<${Repository} key=${name} name=${name} host=${host} />`)}
  </section>`;
}

function Repository({ name, host }: { name: string; host: string }) {
  const [tags, setTags] = useState<readonly string[] | undefined>(undefined);
  useEffect(() => {
    tagsOf(name).then(setTags, () => {
      setTags([]);
    });
  }, [name]);
  return html`<section class="card">
    <h3>${name} ${tags !== undefined && html`<span class="soft">${say('tags', tags.length)}</span>`}</h3>
    <ul class="plain">
      ${(tags ?? []).slice(0, SHOWN).map(
        (tag) =>
          html`<li>
            <a href=${`#image/${name}:${tag}`}>${tag}</a>
            <${Copyable} text=${`docker pull ${host}/${name}:${tag}`} />
          </li>`,
      )}
    </ul>
  </section>`;
}

/** What tags share, as bars. */
function Space() {
  const [usage, setUsage] = useState<Usage | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  useEffect(() => {
    json<Usage>('/ui/usage').then(setUsage, (failure: unknown) => {
      setError((failure as Error).message);
    });
  }, []);
  const most = Math.max(1, ...(usage?.tags ?? []).map(({ size }) => size));
  return html`<section aria-labelledby="space">
    <h2 id="space">${say('usage')}</h2>
    ${error !== undefined && html`<p class="bad" role="alert">${say('failure', error)}</p>`}
    ${usage === undefined && error === undefined && html`<p role="status">${say('loading')}</p>`}
    ${
      usage !== undefined &&
      html`<p>${say('usageText', sizeText(usage.size))}</p>
        ${usage.cut && html`<p>${say('cut')}</p>`}
        <ul class="plain">
          ${usage.tags.map(
            ({ name, size, unique }) =>
              html`<li>
                <div class="row">
                  <a class="grow" href=${`#image/${name}`}>${name}</a>
                  <span class="soft">${sizeText(size)}; ${say('own', sizeText(unique))}</span>
                </div>
                <svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
                  <rect class="shared" width=${(size / most) * 100} height="4" />
                  <rect class="own" width=${(unique / most) * 100} height="4" />
                </svg>
              </li>`,
          )}
        </ul>`
    }
  </section>`;
}

interface Verified {
  readonly images: number;
  readonly brokenImages: number;
  readonly findings: readonly { readonly severity: string; readonly where: string; readonly what: string }[];
}
interface Garbage {
  readonly blobs: { readonly blobs: number };
  readonly bytesFreed: number;
}

/** Verifying, and what could be deleted. */
function Care() {
  const [said, setSaid] = useState<string | undefined>(undefined);
  const [findings, setFindings] = useState<Verified['findings']>([]);
  const [isBusy, setBusy] = useState(false);
  const run = async (job: (hears: (bytes: number) => void) => Promise<string>) => {
    setBusy(true);
    setFindings([]);
    const hears = (bytes: number) => {
      setSaid(say('working', sizeText(bytes)));
    };
    hears(0);
    setSaid(await job(hears).catch((error: unknown) => say('failure', (error as Error).message)));
    setBusy(false);
  };
  const verify = () =>
    run(async (hears) => {
      const result = await work<Verified>('/ui/verify', {}, hears);
      setFindings(result.findings);
      return say('verified', result.images, result.brokenImages);
    });
  const collect = () =>
    run(async (hears) => {
      const { blobs, bytesFreed } = await work<Garbage>('/ui/gc', {}, hears);
      return say('garbage', blobs.blobs, sizeText(bytesFreed));
    });
  return html`<section aria-labelledby="care">
    <h2 id="care">${say('care')}</h2>
    <p class="row">
      <button disabled=${isBusy} onClick=${() => void verify()}>${say('verify')}</button>
      <button disabled=${isBusy} onClick=${() => void collect()}>${say('gc')}</button>
    </p>
    <p role="status">${said}</p>
    <ul class="plain">
      ${findings.map(
        ({ severity, where, what }) =>
          html`<li>
            <strong class=${severity === 'broken' ? 'bad' : ''}>${severity}</strong> <code>${where}</code>:
            ${what}
          </li>`,
      )}
    </ul>
  </section>`;
}

document.documentElement.lang = CHINESE ? 'zh' : 'en';
document.title = say('title');
const root = document.getElementById('page');
if (root !== null) render(html`<${App} />`, root);
