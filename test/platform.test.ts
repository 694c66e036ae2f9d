import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePlatform } from '../src/index.js';
import { platformMatches, platformText } from '../src/model/platform.js';
import { refusal } from './support/errors.js';

for (const [text, os, architecture, variant] of [
  ['linux/amd64', 'linux', 'amd64', undefined],
  ['linux/arm/v7', 'linux', 'arm', 'v7'],
  ['linux/arm64/v8', 'linux', 'arm64', 'v8'],
  ['windows/amd64', 'windows', 'amd64', undefined],
  ['linux/x86_64', 'linux', 'amd64', undefined],
  ['linux/aarch64', 'linux', 'arm64', undefined],
  ['linux/i386', 'linux', '386', undefined],
  ['linux/constructor', 'linux', 'constructor', undefined],
] as const) {
  test(`parses ${text}`, () => {
    const platform = parsePlatform(text);
    assert.deepEqual({ ...platform }, { os, architecture, variant });
    assert.equal(
      platformText(platform),
      [os, architecture, variant].filter((word) => word !== undefined).join('/'),
    );
  });
}

for (const text of ['', 'linux', '/', 'linux/', '/amd64', 'linux/arm/', 'linux/arm/v7/x', 'linux//v7']) {
  test(`refuses ${JSON.stringify(text)} for a platform`, () => {
    assert.throws(() => parsePlatform(text), refusal('USAGE'));
  });
}

for (const [want, have, matches] of [
  ['linux/amd64', 'linux/amd64', true],
  ['linux/amd64', 'linux/arm64', false],
  ['linux/amd64', 'windows/amd64', false],
  ['linux/arm', 'linux/arm/v7', true],
  ['linux/arm/v7', 'linux/arm/v7', true],
  ['linux/arm/v7', 'linux/arm/v6', false],
  ['linux/arm/v7', 'linux/arm64', false],
  ['linux/arm64', 'linux/arm64/v8', true],
  ['linux/arm64/v8', 'linux/arm64', true],
  ['linux/arm64/v9', 'linux/arm64', false],
  ['linux/amd64/v3', 'linux/amd64', false],
] as const) {
  test(`who wants ${want} is ${matches ? '' : 'not '}served by ${have}`, () => {
    assert.equal(platformMatches(parsePlatform(want), parsePlatform(have)), matches);
  });
}
