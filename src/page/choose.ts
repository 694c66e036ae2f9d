import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import { say, shortDigest, sizeText } from './words.js';

/** As `POST /ui/check/ID` gives it. */
interface Found {
  readonly choice: string;
  readonly name?: string;
  readonly digest?: string;
  readonly platforms: readonly string[];
  readonly size?: number;
  readonly target?: string;
  readonly replaces?: string;
  readonly unchanged: boolean;
  readonly problems: readonly string[];
}

export interface Archive {
  readonly images: readonly Found[];
  readonly problems: readonly string[];
}

/** A name as `docker pull` has it after the host, with its tag (distribution/reference). */
const NAME =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*:\w[\w.-]{0,127}$/;

/** The images of an archive, before any of them is visible. */
export function Choose({
  archive,
  take,
}: {
  archive: Archive;
  take: (images: readonly { choice: string; name: string }[]) => void;
}) {
  const usable = archive.images.filter(({ problems }) => problems.length === 0);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set(usable.map(({ choice }) => choice)));
  const [names, setNames] = useState<Readonly<Record<string, string>>>(
    Object.fromEntries(archive.images.map(({ choice, target, name }) => [choice, target ?? name ?? ''])),
  );
  const wanted = usable.filter(({ choice }) => chosen.has(choice));
  const wrong = (choice: string) => {
    const name = names[choice] ?? '';
    if (name === '') return say('needsName');
    if (!NAME.test(name)) return say('badName');
    return wanted.filter((one) => names[one.choice] === name).length > 1 ? say('twice') : undefined;
  };
  const isReady = wanted.length > 0 && wanted.every(({ choice }) => wrong(choice) === undefined);
  return html`<div>
    <h3>${say('found', archive.images.length)}</h3>
    ${archive.problems.map((problem) => html`<p class="bad">${problem}</p>`)}
    <ul class="plain">
      ${archive.images.map((image) => {
        const { choice, problems, digest = '', platforms, size } = image;
        const isUsable = problems.length === 0;
        const fault = isUsable && chosen.has(choice) ? wrong(choice) : undefined;
        return html`<li>
          <div class="row">
            ${
              isUsable &&
              html`<input
                type="checkbox"
                checked=${chosen.has(choice)}
                aria-label=${`${say('chosen')}: ${image.name ?? choice}`}
                onChange=${() => {
                  const others = new Set(chosen);
                  if (!others.delete(choice)) others.add(choice);
                  setChosen(others);
                }}
              />`
            }
            <span class="grow">
              ${
                isUsable
                  ? html`<input
                      type="text"
                      value=${names[choice] ?? ''}
                      aria-label=${`${say('nameOf')}: ${image.name ?? choice}`}
                      aria-invalid=${fault !== undefined}
                      onInput=${(event: Event) => {
                        setNames({ ...names, [choice]: (event.target as HTMLInputElement).value.trim() });
                      }}
                    />`
                  : html`<span class="code">${image.name ?? choice}</span>`
              }
            </span>
            <span class="soft">${platforms.join(', ')} ${size === undefined ? '' : sizeText(size)}</span>
          </div>
          <div class="soft">
            <span class="code">${shortDigest(digest)}</span>${' '}
            ${image.unchanged && names[choice] === image.target && say('unchanged')}
            ${
              image.replaces !== undefined &&
              names[choice] === image.target &&
              html`<strong>${say('replaces', shortDigest(image.replaces))}</strong>`
            }
          </div>
          ${fault !== undefined && html`<p class="bad">${fault}</p>`}
          ${problems.map((problem) => html`<p class="bad">${problem}</p>`)}
        </li>`;
      })}
    </ul>
    <p>
      <button
        class="main"
        disabled=${!isReady}
        onClick=${() => {
          take(wanted.map(({ choice }) => ({ choice, name: names[choice] ?? '' })));
        }}
      >
        ${say('take')}
      </button>
    </p>
  </div>`;
}
