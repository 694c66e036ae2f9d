import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseReference, referenceText } from '../src/index.js';
import { canonicalText, familiarText } from '../src/model/reference.js';
import { refusal } from './support/errors.js';

// The cases follow https://github.com/distribution/reference/blob/v0.6.0/reference_test.go and normalize_test.go.
const DIGEST = `sha256:${'ab'.repeat(32)}`;

describe('parseReference', () => {
  for (const [text, host, repository, tag, digest] of [
    ['alpine', undefined, 'alpine', undefined, undefined],
    ['alpine:3.20', undefined, 'alpine', '3.20', undefined],
    ['library/alpine', undefined, 'library/alpine', undefined, undefined],
    ['docker.io/library/alpine:latest', 'docker.io', 'library/alpine', 'latest', undefined],
    ['localhost/demo/app:1', 'localhost', 'demo/app', '1', undefined],
    ['localhost:5003/demo/app:1.0', 'localhost:5003', 'demo/app', '1.0', undefined],
    ['registry:5000/app', 'registry:5000', 'app', undefined, undefined],
    ['[2001:db8::1]:5000/app:1', '[2001:db8::1]:5000', 'app', '1', undefined],
    ['192.168.1.1/app', '192.168.1.1', 'app', undefined, undefined],
    ['Upper/app', 'Upper', 'app', undefined, undefined],
    ['a/b/c/d/e:tag', undefined, 'a/b/c/d/e', 'tag', undefined],
    [`app@${DIGEST}`, undefined, 'app', undefined, DIGEST],
    [`quay.io/team/app:v1@${DIGEST}`, 'quay.io', 'team/app', 'v1', DIGEST],
    ['a_b/c__d/e-f/g---h/i.j', undefined, 'a_b/c__d/e-f/g---h/i.j', undefined, undefined],
    ['app:_x', undefined, 'app', '_x', undefined],
    [`app:${'t'.repeat(128)}`, undefined, 'app', 't'.repeat(128), undefined],
    [`app:sha256-${'ab'.repeat(32)}`, undefined, 'app', `sha256-${'ab'.repeat(32)}`, undefined],
    ['constructor:constructor', undefined, 'constructor', 'constructor', undefined],
  ] as const) {
    test(text.length > 60 ? `${text.slice(0, 60)}…` : text, () => {
      const reference = parseReference(text);
      assert.deepEqual({ ...reference }, { host, repository, tag, digest });
      assert.equal(referenceText(reference), text);
    });
  }

  for (const [title, text] of [
    ['nothing', ''],
    ['a tag alone', ':1'],
    ['an empty tag', 'app:'],
    ['an empty digest', 'app@'],
    ['a short digest', 'app@sha256:abc'],
    ['two digests', `app@${DIGEST}@${DIGEST}`],
    ['a tag that begins with a dot', 'app:.1'],
    ['a tag that begins with a dash', 'app:-1'],
    ['a tag of 129 characters', `app:${'t'.repeat(129)}`],
    ['a tag with a slash', 'app:a/b/'],
    ['a tag with a plus', 'app:1+2'],
    ['upper case', 'demo/App:1'],
    ['the parent folder', '../etc:1'],
    ['the parent folder within', 'demo/../etc:1'],
    ['this folder', './app:1'],
    ['an absolute path', '/etc/passwd:1'],
    ['doubled slashes', 'demo//app:1'],
    ['a slash at its end', 'demo/app/:1'],
    ['a separator first', 'demo/-app:1'],
    ['a separator last', 'demo/app-:1'],
    ['three underscores', 'demo/a___b:1'],
    ['two dots', 'demo/a..b:1'],
    ['a space', 'demo/a b:1'],
    ['a newline', 'demo/app:1\n'],
    ['a NUL', 'demo/a\0b:1'],
    ['a backslash', 'demo\\app:1'],
    ['letters beyond ASCII', 'démo/app:1'],
    ['a URL', 'https://quay.io/app:1'],
    ['a transport', 'docker://quay.io/app:1'],
    ['a repository of 256 characters', `${'a'.repeat(127)}/${'a'.repeat(128)}`],
    ['a broken host', 'quay..io/app:1'],
    ['a port without a number', 'quay.io:x/app:1'],
    ['megabytes', 'a/'.repeat(1_000_000)],
  ] as const) {
    test(`refuses ${title}`, () => {
      assert.throws(
        () => parseReference(text),
        (error: unknown) => refusal('NAME_INVALID')(error) && (error as Error).message.length < 600,
      );
    });
  }
});

for (const [familiar, canonical] of [
  ['alpine:latest', 'docker.io/library/alpine:latest'],
  ['demo/app:1.0', 'docker.io/demo/app:1.0'],
  ['quay.io/demo/app:1.0', 'quay.io/demo/app:1.0'],
  ['localhost/app:1', 'localhost/app:1'],
  ['localhost:5003/demo/app:1.0', 'localhost:5003/demo/app:1.0'],
  [`alpine@${DIGEST}`, `docker.io/library/alpine@${DIGEST}`],
] as const) {
  test(`${familiar} is ${canonical}`, () => {
    assert.equal(canonicalText(parseReference(familiar)), canonical);
    assert.equal(familiarText(canonical), familiar);
    assert.equal(familiarText(familiar), familiar);
  });
}

for (const [text, canonical] of [
  ['docker.io/busybox:1', 'docker.io/library/busybox:1'],
  ['index.docker.io/busybox:1', 'docker.io/library/busybox:1'],
  ['index.docker.io/org/app:1', 'docker.io/org/app:1'],
] as const) {
  test(`${text} is ${canonical}`, () => {
    assert.equal(canonicalText(parseReference(text)), canonical);
  });
}

for (const [text, familiar] of [
  ['index.docker.io/library/alpine:1', 'alpine:1'],
  ['docker.io/library/a/b:1', 'library/a/b:1'],
  ['quay.io/library/alpine:1', 'quay.io/library/alpine:1'],
] as const) {
  test(`the familiar form of ${text} is ${familiar}`, () => {
    assert.equal(familiarText(text), familiar);
  });
}
