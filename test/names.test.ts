import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { referenceText } from '../src/index.js';
import { parseRename, targetName, type NameOptions } from '../src/transfer/names.js';
import { refusal } from './support/errors.js';
import { formatOf } from './support/places.js';

const DIGEST = `sha256:${'ab'.repeat(32)}`;

function named(source: string, to: string, options: NameOptions, chosen: boolean): string {
  return referenceText(targetName(source, chosen, options, formatOf(to).traits).reference);
}

describe('the name that an image gets', () => {
  for (const [source, options, inStore, inTree, inArchive = inTree] of [
    ['demo/app:1', {}, 'demo/app:1', 'demo/app:1'],
    ['demo/app', {}, 'demo/app:latest', 'demo/app:latest'],
    ['alpine', {}, 'alpine:latest', 'alpine:latest'],
    [`demo/app@${DIGEST}`, {}, `demo/app@${DIGEST}`, `demo/app@${DIGEST}`],
    // Hosts
    ['localhost:5003/demo/app:1', {}, 'demo/app:1', 'demo/app:1', 'localhost:5003/demo/app:1'],
    ['quay.io/demo/app:1', {}, 'demo/app:1', 'demo/app:1', 'quay.io/demo/app:1'],
    ['localhost/demo/app:1', {}, 'demo/app:1', 'demo/app:1', 'localhost/demo/app:1'],
    ['quay.io/demo/app:1', { scoped: true }, 'quay.io/demo/app:1', 'quay.io/demo/app:1'],
    ['localhost:5003/demo/app:1', { scoped: true }, 'demo/app:1', 'localhost:5003/demo/app:1'],
    // Prefixes
    ['team/demo/app:1', { stripPrefix: 'team' }, 'demo/app:1', 'demo/app:1'],
    ['team/demo/app:1', { stripPrefix: 'team/' }, 'demo/app:1', 'demo/app:1'],
    ['team/demo/app:1', { stripPrefix: 'team/demo' }, 'app:1', 'app:1'],
    ['teams/app:1', { stripPrefix: 'team' }, 'teams/app:1', 'teams/app:1'],
    ['demo/team/app:1', { stripPrefix: 'team' }, 'demo/team/app:1', 'demo/team/app:1'],
    ['quay.io/team/app:1', { stripPrefix: 'team' }, 'app:1', 'app:1', 'quay.io/app:1'],
    ['quay.io/team/app:1', { stripPrefix: 'quay.io/team' }, 'app:1', 'app:1', 'quay.io/app:1'],
    ['demo/app:1', { addPrefix: 'mirror' }, 'mirror/demo/app:1', 'mirror/demo/app:1'],
    ['demo/app:1', { addPrefix: 'a/b/' }, 'a/b/demo/app:1', 'a/b/demo/app:1'],
    [
      'quay.io/demo/app:1',
      { addPrefix: 'mirror' },
      'mirror/demo/app:1',
      'mirror/demo/app:1',
      'quay.io/mirror/demo/app:1',
    ],
    ['old/app:1', { stripPrefix: 'old', addPrefix: 'new' }, 'new/app:1', 'new/app:1'],
    // Renames
    ['demo/app:1', { rename: ['demo/app=team/tool'] }, 'team/tool:1', 'team/tool:1'],
    ['demo/app:1', { rename: ['demo=team'] }, 'team/app:1', 'team/app:1'],
    ['demo/app:1', { rename: ['dem=team'] }, 'demo/app:1', 'demo/app:1'],
    ['demo/app:1', { rename: ['app=team'] }, 'demo/app:1', 'demo/app:1'],
    ['demo/app:1', { rename: ['other=x', 'demo=first', 'demo=second'] }, 'first/app:1', 'first/app:1'],
    ['quay.io/demo/app:1', { rename: ['demo=team'] }, 'team/app:1', 'team/app:1'],
    ['quay.io/demo/app:1', { rename: ['quay.io/demo=team'] }, 'team/app:1', 'team/app:1'],
    [
      'demo/app:1',
      { rename: ['demo=old/x'], stripPrefix: 'old', addPrefix: 'new' },
      'new/x/app:1',
      'new/x/app:1',
    ],
    [`demo/app@${DIGEST}`, { rename: ['demo=team'] }, `team/app@${DIGEST}`, `team/app@${DIGEST}`],
    // skopeo sync's
    ['quay.io/org/team/app:1', { flat: true }, 'app:1', 'app:1'],
    ['app:1', { flat: true, appendSuffix: '-x' }, 'app:1-x', 'app:1-x'],
    ['quay.io/org/app:1', { flat: true, rename: ['org=mine/org'] }, 'mine/org/app:1', 'mine/org/app:1'],
    ['quay.io/org/app:1', { flat: true, addPrefix: 'p' }, 'p/app:1', 'p/app:1'],
    ['org/app', { appendSuffix: '-x' }, 'org/app:latest-x', 'org/app:latest-x'],
    [`org/app@${DIGEST}`, { appendSuffix: '-x' }, `org/app@${DIGEST}`, `org/app@${DIGEST}`],
    [
      `org/app:${DIGEST.replace(':', '-')}.sig`,
      { appendSuffix: '-x' },
      `org/app:${DIGEST.replace(':', '-')}.sig`,
      `org/app:${DIGEST.replace(':', '-')}.sig`,
    ],
    // A repository may look like a host.
    [
      'localhost/docker.io/library/alpine:3',
      {},
      'docker.io/library/alpine:3',
      'docker.io/library/alpine:3',
      'localhost/docker.io/library/alpine:3',
    ],
  ] as const) {
    for (const [to, expected] of [
      ['reg', inStore],
      ['dir', inTree],
      ['tar', inArchive],
    ] as const) {
      test(`${source} with ${JSON.stringify(options)} is ${expected} in ${to}`, () => {
        assert.equal(named(source, to, options, false), expected);
      });
    }
  }

  for (const options of [{ stripPrefix: 'team' }, { addPrefix: 'x' }, { rename: ['team=x'] }]) {
    test(`is the user's own word, whatever ${JSON.stringify(options)} would make of it`, () => {
      assert.equal(named('team/app:1', 'reg', options, true), 'team/app:1');
    });
  }

  test('says why a host with a port is left out of a store', () => {
    const { notes } = targetName('localhost:5003/a:1', false, { scoped: true }, formatOf('reg').traits);
    assert.equal(notes.length, 1);
    assert.match(notes.join(), /localhost:5003/);
    assert.deepEqual(targetName('quay.io/a:1', false, { scoped: true }, formatOf('reg').traits).notes, []);
  });

  for (const [source, options] of [
    ['../etc/passwd:1', {}],
    ['demo/../../etc:1', {}],
    ['Demo/App:1', {}],
    ['demo/app:-', {}],
    ['demo/app:a b', {}],
    ['demo/app@sha256:abc', {}],
    ['', {}],
    ['team:1', { stripPrefix: 'team' }],
    ['demo/app:1', { addPrefix: '../x' }],
    ['demo/app:1', { addPrefix: 'a/X' }],
    ['demo/app:1', { addPrefix: '/' }],
    [`demo/app:1`, { addPrefix: 'x'.repeat(250) }],
  ] as const) {
    for (const to of ['reg', 'dir', 'tar']) {
      test(`${JSON.stringify(source)} with ${JSON.stringify(options).slice(0, 60)} is refused for ${to}`, () => {
        assert.throws(() => named(source, to, options, false), refusal('NAME_INVALID'));
      });
    }
  }
});

describe('a name that is none', () => {
  for (const to of ['reg', 'dir', 'tar'])
    test(`is shown as it would be in ${to}`, () => {
      assert.throws(
        () => named('demo/app:1', to, { addPrefix: 'a/X' }, false),
        refusal('NAME_INVALID', '"a/X/demo/app:1"'),
      );
    });
});

describe('parseRename', () => {
  test('cuts at the equals sign', () => {
    assert.deepEqual(parseRename('quay.io/demo=team/demo'), { from: 'quay.io/demo', to: 'team/demo' });
  });
  for (const text of ['', '=', 'a', 'a=', '=b', 'a=b=c', 'a=B', 'a=../b', 'a=b:1', 'A=b', '/a=b', 'a:v1=b']) {
    test(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseRename(text), refusal('USAGE', text));
    });
  }
});
