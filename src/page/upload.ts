import { Upload } from 'tus-js-client';
import { html } from 'htm/preact';
import { useRef, useState } from 'preact/hooks';
import { Choose, type Archive } from './choose.js';
import { work } from './registry.js';
import { say, sizeText } from './words.js';

interface Taken {
  readonly choice: string;
  readonly name?: string;
  readonly status: string;
  readonly error?: string;
}

/** The part of the page that takes archives. `done`: images were added. */
export function Uploads({ done }: { done: () => void }) {
  const [files, setFiles] = useState<readonly { readonly key: number; readonly file: File }[]>([]);
  const [over, setOver] = useState(false);
  const next = useRef(0);
  const input = useRef<HTMLInputElement>(null);
  const add = (list: FileList | null | undefined) => {
    setFiles((all) => [...all, ...[...(list ?? [])].map((file) => ({ key: next.current++, file }))]);
  };
  return html`<section aria-labelledby="upload">
    <h2 id="upload">${say('upload')}</h2>
    <div
      class=${`drop${over ? ' over' : ''}`}
      onDragOver=${(event: DragEvent) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave=${() => {
        setOver(false);
      }}
      onDrop=${(event: DragEvent) => {
        event.preventDefault();
        setOver(false);
        add(event.dataTransfer?.files);
      }}
    >
      <p>${say('drop')}</p>
      <button class="main" onClick=${() => input.current?.click()}>${say('choose')}</button>
      <input
        ref=${input}
        id="files"
        type="file"
        multiple
        hidden
        aria-label=${say('choose')}
        onChange=${(event: Event) => {
          const from = event.target as HTMLInputElement;
          add(from.files);
          from.value = '';
        }}
      />
    </div>
    <ul class="plain">
      ${files.map(
        ({ key, file }) =>
          html`<${One}
            key=${key}
            file=${file}
            done=${done}
            discard=${() => {
              setFiles((all) => all.filter((one) => one.key !== key));
            }}
          />`,
      )}
    </ul>
  </section>`;
}

type State =
  | { readonly at: 'uploading'; readonly sent: number; readonly note?: string; readonly paused?: boolean }
  | { readonly at: 'checking'; readonly read: number }
  | { readonly at: 'found'; readonly archive: Archive }
  | { readonly at: 'taking'; readonly archive: Archive; readonly read: number }
  | { readonly at: 'taken'; readonly taken: readonly Taken[] }
  | { readonly at: 'refused'; readonly why: string };

/** One archive, from the first byte to the images that came of it. */
function One({ file, done, discard }: { file: File; done: () => void; discard: () => void }) {
  const [state, setState] = useState<State>({ at: 'uploading', sent: 0 });
  const upload = useRef<Upload | undefined>(undefined);
  if (upload.current === undefined) upload.current = begin(file, setState);
  const id = () => (upload.current?.url ?? '').split('/').pop() ?? '';
  const give = () => {
    void upload.current?.abort(true).catch(() => undefined);
    if (state.at !== 'uploading')
      void fetch(upload.current?.url ?? '', {
        method: 'DELETE',
        headers: { 'Tus-Resumable': '1.0.0' },
      }).catch(() => undefined);
    discard();
  };
  const take = async (archive: Archive, images: readonly { choice: string; name: string }[]) => {
    setState({ at: 'taking', archive, read: 0 });
    try {
      const taken = await work<readonly Taken[]>(`/ui/take/${id()}`, { images }, (read) => {
        setState({ at: 'taking', archive, read });
      });
      setState({ at: 'taken', taken });
      done();
    } catch (error) {
      setState({ at: 'refused', why: (error as Error).message });
    }
  };
  const pause = (paused: boolean) => {
    if (paused) void upload.current?.abort();
    else upload.current?.start();
    setState((now) => (now.at === 'uploading' ? { at: 'uploading', sent: now.sent, paused } : now));
  };
  return html`<li class="card" data-state=${state.at}>
    <div class="row">
      <strong class="grow">${file.name}</strong>
      ${
        state.at === 'uploading' &&
        html`<button
          onClick=${() => {
            pause(state.paused !== true);
          }}
        >
          ${say(state.paused === true ? 'resume' : 'pause')}
        </button>`
      }
      <button onClick=${give} aria-label=${`${say('discard')}: ${file.name}`}>${say('discard')}</button>
    </div>
    <div role="status">
      ${
        state.at === 'uploading' &&
        html`<p>${say('uploading', file.name, sizeText(state.sent), sizeText(file.size))} ${state.note}</p>`
      }
      ${state.at === 'checking' && html`<p>${say('checking', file.name, sizeText(state.read))}</p>`}
      ${state.at === 'taking' && html`<p>${say('taking', sizeText(state.read))}</p>`}
      ${
        state.at === 'refused' &&
        html`<p class="bad"><strong>${say('refused', file.name)}</strong></p>
          <p class="bad">${state.why}</p>`
      }
    </div>
    ${
      state.at === 'uploading' &&
      html`<progress max=${Math.max(1, file.size)} value=${state.sent} aria-label=${file.name}></progress>`
    }
    ${(state.at === 'checking' || state.at === 'taking') && html`<progress aria-label=${file.name}></progress>`}
    ${
      state.at === 'found' &&
      html`<${Choose} archive=${state.archive} take=${(images: never) => void take(state.archive, images)} />`
    }
    ${
      state.at === 'taken' &&
      html`<ul class="plain">
        ${state.taken.map(
          ({ choice, name, status, error }) =>
            html`<li>
              <span class="code">${name ?? choice}</span>${' '}
              <span class=${error === undefined ? 'good' : 'bad'}>
                ${say(
                  status === 'written' || status === 'updated' || status === 'unchanged' ? status : 'failed',
                )}
              </span>
              ${error !== undefined && html`<span class="bad"> ${error}</span>`}
            </li>`,
        )}
      </ul>`
    }
  </li>`;
}

/** Starts an upload, or goes on with one of the same file that was given up. */
function begin(file: File, setState: (state: State | ((now: State) => State)) => void): Upload {
  const upload = new Upload(file, {
    endpoint: '/ui/uploads',
    retryDelays: [0, 1000, 2000, 4000, 8000, 15_000, 30_000, 60_000, 60_000, 60_000],
    removeFingerprintOnSuccess: true,
    metadata: { filename: file.name },
    onProgress: (sent) => {
      setState({ at: 'uploading', sent });
    },
    onShouldRetry: (error) => {
      const status = error.originalResponse?.getStatus() ?? 0;
      const again = status < 400 || status >= 500 || status === 409 || status === 423;
      if (again) setState((now) => (now.at === 'uploading' ? { ...now, note: say('retrying') } : now));
      return again;
    },
    onError: (error) => {
      setState({ at: 'refused', why: wordsOf(error) });
    },
    onSuccess: () => {
      setState({ at: 'checking', read: 0 });
      work<Archive>(`/ui/check/${(upload.url ?? '').split('/').pop() ?? ''}`, {}, (read) => {
        setState({ at: 'checking', read });
      })
        .then((archive) => {
          setState({ at: 'found', archive });
        })
        .catch((error: unknown) => {
          setState({ at: 'refused', why: (error as Error).message });
        });
    },
  });
  void upload.findPreviousUploads().then(([previous]) => {
    if (previous !== undefined) upload.resumeFromPreviousUpload(previous);
    upload.start();
  });
  return upload;
}

/** What the server said, of tus' message that has everything in it. */
function wordsOf(error: Error): string {
  const body =
    'originalResponse' in error
      ? (error.originalResponse as { getBody(): string } | null)?.getBody()
      : undefined;
  return body === undefined || body === '' ? say('lost') : body.slice(0, 300);
}
