import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from './support/fixtures.js';

const SRC = join(projectRoot, 'src');
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));

/** What is made when all is built has its types alone here. */
function sourceOf(script: string): string {
  const [source, types] = ['.ts', '.d.ts'].map((ending) => script.replace(/\.js$/, ending));
  return files.includes(types ?? '') ? (types ?? '') : (source ?? '');
}

/** Files that a file imports, types included. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/(?:from |import\()'(\.[^']+)'/g)].map(([, path = '']) =>
    sourceOf(join(dirname(file), path)),
  );
}

test('no file of src imports itself by way of others', () => {
  assert.ok(files.length > 100);
  const graph = new Map(files.map((file) => [file, importsOf(file)]));
  for (const targets of graph.values()) for (const target of targets) assert.ok(graph.has(target), target);
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    assert.ok(!path.includes(file), [...path, file].join(' -> '));
    if (done.has(file)) return;
    for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
});
