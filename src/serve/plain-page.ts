import type { Backend } from './backend.js';

/** Repositories and tags as a page without scripts. */
export async function plainPage(backend: Backend, host: string): Promise<string> {
  const repositories: string[] = [];
  for await (const one of backend.repositories()) repositories.push(one);
  const parts: string[] = [];
  for (const repository of repositories.sort()) {
    const tags = [...(await backend.tags(repository))].sort();
    const items = tags.map((tag) => {
      const name = `${repository}:${tag}`;
      return `<li><code>docker pull ${text(`${host}/${name}`)}</code> <a href="/ui/download/${text(encodeURI(name))}">tar</a></li>`;
    });
    parts.push(`<h2>${text(repository)}</h2><ul>${items.join('')}</ul>`);
  }
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Images</title><link rel="stylesheet" href="/ui/page.css"><main><h1>Images</h1>${parts.join('') || '<p>There are no images yet.</p>'}</main></html>`;
}

/** Text, never markup. */
function text(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
