import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { imgconv } from './support/cli.js';
import { fixture, syncTree, unpacked } from './support/fixtures.js';
import { descriptorOf, imageOf, OCI, part } from './support/images.js';
import { layFiles, layoutFiles, REF } from './support/layouts.js';
import { refusals } from './support/refusals.js';
import { readTarFile, tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

const folder = tempFolder();

function file(name: string, content: string | Uint8Array = ''): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function folderOf(name: string, ...files: readonly (readonly [name: string, path: string])[]): string {
  const path = join(folder, name);
  mkdirSync(path);
  for (const [entry, from] of files) cpSync(from, join(path, entry), { recursive: true });
  return path;
}

function link(name: string, to: string): string {
  const path = join(folder, name);
  symlinkSync(to, path);
  return path;
}

const paths = {
  SRC: syncTree(),
  STORE: unpacked('registry.tar'),
  LAYOUT: unpacked('oci.tar'),
  TAR: fixture('docker20.tar'),
  OCITAR: fixture('podman-oci.tar'),
  TREETAR: fixture('sync.tar'),
  STORETAR: fixture('registry.tar'),
  LAYOUTTAR: file('outer.tar', await tarOf({ 'lay/oci-layout': '{}', 'lay/index.json': '{}' })),
  OUTERTAR: file('outers.tar', await tarOf({ 'a.tar': '', 'b.tar': '' })),
  TEXTTAR: file('text.tar', await tarOf({ 'a.txt': 'text' })),
  PACKEDTAR: file('tree.tar.gz', gzipSync(readFileSync(fixture('sync.tar')))),
  CUT: file('cut.tar', readFileSync(fixture('docker20.tar')).subarray(0, 30_000)),
  NOTHING: file('nothing.tar'),
  UNPACKED: unpacked('docker20.tar'),
  TARS: folderOf('tars', ['a.tar', fixture('docker20.tar')]),
  HOLLOW: folderOf('hollow'),
  FILE: file('file', 'text'),
  DANGLING: link('dangling', 'nowhere'),
  DST: join(folder, 'target'),
  EMPTY: file('empty.list', '# nothing\n\n'),
  WORDS: file('words.list', 'one two three\n'),
  LONG: file('long.list', `a b ${'c'.repeat(10_000)}\n`),
  BINARY: file('binary.list', Buffer.from([0x41, 0x00, 0x42, 0x0a])),
  WINDOWS: file('windows.list', Buffer.from('\ufeffdemo/base:1\r\n', 'utf16le')),
  UPPER: file('upper.list', 'ubuntu\nUPPER/Case:1\n'),
  NOYAML: file('broken.yml', 'a.io:\n\timages: {}\n'),
  NOIMAGES: file('none.yml', 'a.io:\n  tls-verify: false\n'),
  NEWNAME: file('new-name.list', 'demo/base:1 a:1\ndemo/base:1 UPPER:1\n'),
  NOPE: join(folder, 'nope'),
};

const A_LIST = 'a list of images is a file of text';

refusals('a list that is none, by the words of the list itself', paths, [
  ['dir2reg SRC DST --images-file EMPTY', 'empty.list: no references in it', '--help'],
  ['save DST --images-file EMPTY', 'empty.list: no references in it', '--help'],
  ['sync EMPTY DST --src list --dest reg', 'empty.list: no references in it', '--help'],
  [
    'dir2reg SRC DST --images-file WORDS',
    'words.list:1: 3 words, where a source and at most a target',
    A_LIST,
  ],
  ['dir2reg SRC DST --images-file NEWNAME', 'new-name.list:2: the new name is not', 'REPOSITORY:TAG'],
  ['sync LONG DST --src list --dest reg', 'long.list:1: 3 words, where', 'imgconv images'],
]);

refusals(
  'a list that cannot be read',
  paths,
  [
    ['dir2reg SRC DST --images-file SRC', `${paths.SRC}: a folder, not a file`, A_LIST],
    ['dir2reg SRC DST --images-file NOPE', 'nope: no such file', A_LIST],
    ['dir2reg SRC DST --images-file BINARY', 'binary.list: not a text file', A_LIST],
    ['dir2reg SRC DST --images-file WINDOWS', 'windows.list: not a text file in UTF-8', A_LIST],
    ['sync SRC DST --src list --dest reg', `${paths.SRC}: a folder, not a file`, A_LIST],
    ['sync NOPE DST --src list --dest reg', 'nope: no such file', A_LIST],
    ['sync UPPER DST --src list --dest reg', 'upper.list:2: "UPPER/Case:1" is not', 'write it as NAME'],
    [
      'sync SRC DST --src yaml --dest reg',
      `${paths.SRC}: a folder, not a file`,
      'no image is left incomplete',
    ],
    ['sync NOPE DST --src yaml --dest reg', 'nope: no such file', 'check the spelling'],
    ['sync NOYAML DST --src yaml --dest reg', 'broken.yml:2: ', 'fix the file at the place'],
    ['sync NOIMAGES DST --src yaml --dest reg', 'none.yml: it names no images', 'images-by-semver'],
    ['sync EMPTY DST --src yaml --dest reg', 'empty.list: there is nothing in it', 'fix the file'],
  ],
  1,
);

refusals('a target where something else is', paths, [
  [
    'dir2reg SRC FILE',
    `${paths.FILE}: a folder is to be made or filled, and there is a file`,
    'docker-archive:',
  ],
  ['dir2reg SRC SRC', `${paths.SRC}: the source and the target are one folder`, 'another folder'],
  ['dir2oci SRC FILE/below', `and at ${paths.FILE} is a file`, 'a name that is not taken'],
  ['reg2dir STORE DANGLING', 'and there is a link that leads nowhere', 'a name that is not taken'],
  ['dir2reg SRC LAYOUT', 'there is an OCI image layout already', 'did you mean imgconv dir2oci '],
  ['reg2oci STORE STORE', 'there is registry storage', 'did you mean imgconv reg2reg '],
  ['copy docker://localhost:1 dir:STORE', 'there is registry storage', 'another folder, or reg:'],
]);

refusals(
  'a source that is another place than the command says',
  paths,
  [
    ['tar2reg SRC DST', 'sync: this is dir:, not docker-archive:', 'did you mean imgconv dir2reg /'],
    ['tar2reg STORE DST', ': this is reg:, not docker-archive:', 'did you mean imgconv reg2reg /'],
    ['tar2reg LAYOUT DST', ': this is oci:, not docker-archive:', 'did you mean imgconv oci2reg /'],
    ['dir2reg TAR DST demo/*:1', 'docker20.tar: this is docker-archive:, not dir:', "target 'demo/*:1'?"],
    ['dir2reg STORE DST', ': this is reg:, not dir:', 'did you mean imgconv reg2reg /'],
    ['dir2tar OCITAR DST', ': this is oci-archive:, not dir:', 'did you mean imgconv ocitar2tar /'],
    ['oci2reg SRC DST', ': this is dir:, not oci:', 'did you mean imgconv dir2reg /'],
    ['reg2dir LAYOUT DST', ': this is oci:, not reg:', 'did you mean imgconv oci2dir /'],
    ['ocitar2reg TAR DST', ': this is docker-archive:, not oci-archive:', 'did you mean imgconv tar2reg /'],
    ['copy dir:STORE oci:DST:a:1', ': this is reg:, not dir:', 'did you mean imgconv copy reg:/'],
    ['sync STORE DST --src dir --dest reg', ': this is reg:, not dir:', 'did you mean --src reg?'],
    ['tar2reg TARS DST', 'tars: a folder, not an archive', 'there are images in /'],
    ['dir2reg TARS DST', 'tars: there are no images in it', '/tars/a.tar: give one of them'],
    ['ls TARS', 'tars: a folder, and neither reg: nor oci: nor dir:', '/tars/a.tar: give one of them'],
    ['ls HOLLOW', 'hollow: a folder, and neither', "a registry's storage holds docker/registry/v2"],
    ['ls UNPACKED', 'a folder, and neither', 'pack it again: tar -cf ARCHIVE.tar -C '],
    ['tar2reg UNPACKED DST', 'a folder, not an archive', 'pack it again'],
  ],
  1,
);

refusals(
  'a file that is no archive of images',
  paths,
  [
    ['ls CUT', 'cut.tar: cut off after 30000 bytes', 'was not copied whole'],
    ['verify CUT', 'cut.tar: cut off after 30000 bytes', 'was not copied whole'],
    ['inspect CUT', 'cut.tar: cut off after 30000 bytes', 'was not copied whole'],
    ['reg2dir CUT DST', 'cut.tar: cut off after 30000 bytes', 'was not copied whole'],
    ['ls NOTHING', 'nothing.tar: the file is empty', 'fetch or save it again'],
    ['verify FILE', 'file: not a tar, it has 4 bytes', 'give an archive that docker save'],
    ['dir2reg FILE DST', 'file: not a tar, it has 4 bytes', 'give an archive that docker save'],
    ['ls TEXTTAR', 'text.tar: neither manifest.json nor index.json in it', 'what docker save'],
    ['ls TREETAR', "sync.tar: no image archive, but skopeo's directories in a tar", 'give the folder sync'],
    ['tar2reg TREETAR DST', 'sync.tar: no image archive, but', 'give the folder sync'],
    ['tar2reg PACKEDTAR DST', 'tree.tar.gz: no image archive, but', 'give the folder sync'],
    ['dir2reg TREETAR DST', 'sync.tar: no image archive, but', 'unpack it with tar -x'],
    [
      'tar2dir STORETAR DST',
      "registry.tar: no image archive, but a registry's storage",
      'where that was done',
    ],
    ['ocitar2reg LAYOUTTAR DST', 'outer.tar: no image archive, but an OCI layout', 'the folder lay'],
    ['ls OUTERTAR', 'outers.tar: no image archive, but other archives', 'where that was done'],
  ],
  1,
);

refusals(
  'a name that is not there',
  paths,
  [
    ['ls STORE demo/bas:1', 'demo/bas:1: no such image', 'there are demo/base:1'],
    ['ls STORE base:1', 'base:1: no such image', 'there are demo/base:1'],
    ['ls STORE demo/base:2', 'demo/base:2: no such image', 'there are demo/base:1'],
    ['ls STORE quay.io/x/demo/app:2.0', 'no such image', 'there are demo/app:2.0, demo/app:'],
    ['ls STORE dmeo/base:1', 'dmeo/base:1: no such image', 'there are demo/base:1'],
    ['ls STORE demo/nope:1', 'demo/nope:1: no such image', 'imgconv ls shows what there is'],
    ['ls STORE nowhere/xyz', 'nowhere/xyz: no such image', 'imgconv ls shows what there is'],
    ['ls STORE nowhere/*', 'nowhere/*: no such image', 'imgconv ls shows what there is'],
    ['ls SRC demo/mutli:1', 'demo/mutli:1: no such image', 'there are demo/multi:1'],
    ['ls TAR app:1', 'app:1: no such image', 'there are demo/app:1.0, demo/app:2.0'],
    ['inspect STORE demo/bas:1', 'demo/bas:1: no such image', 'there are demo/base:1'],
    ['reg2dir STORE DST demo/bas:1 -q', 'demo/bas:1: no such image', 'there are demo/base:1'],
  ],
  1,
);

describe('messages about archives', () => {
  for (const [title, from] of [
    ['that is packed', 'dir2reg'],
    ['that is packed, as another archive', 'ocitar2reg'],
    ['as what it is taken for', 'tar2reg'],
  ] as const)
    test(`a tar without images ${title}: says so at once`, async () => {
      const folder = tempFolder();
      const path = join(folder, 'backup.tgz');
      writeFileSync(path, gzipSync(await tarOf({ 'etc/hosts': 'x' })));
      const { status, stderr } = await imgconv([from, path, join(folder, 'target')]);
      assert.equal(status, 1);
      assert.match(
        stderr,
        /^imgconv: \S+backup\.tgz: neither manifest\.json nor index\.json in it: no image archive\n {2}an archive of images is what/,
      );
      assert.doesNotMatch(stderr, /did you mean/);
    });

  test('a layer that is not what the config says: its member and number, in a file and in a pipe', async () => {
    const members = await readTarFile(fixture('docker20.tar'));
    const [config] = members.filter(({ header }) => /^8e277fc0.*\.json$/.test(header.name));
    assert.ok(config !== undefined);
    const other = Buffer.from(
      config.body.toString().replace(/("diff_ids":\["sha256:)([0-9a-f]{2})/, '$1' + '00'),
    );
    const manifest = [{ Config: 'config.json', RepoTags: ['demo/base:1'], Layers: ['layer.tar'] }];
    const layer = await tarOf({ 'bin/x': 'x' });
    const archive = await tarOf({
      'manifest.json': JSON.stringify(manifest),
      'config.json': other,
      'layer.tar': layer,
    });
    const folder = tempFolder();
    const path = join(folder, 'saved.tar');
    writeFileSync(path, archive);
    for (const [source, stdin] of [
      [path, ''],
      ['-', archive],
    ] as const) {
      const { status, stderr } = await imgconv(['tar2reg', source, join(folder, 'target')], { stdin });
      assert.equal(status, 1);
      assert.match(
        stderr,
        /: layer\.tar \(layer 1 of 1\): expected sha256:00[0-9a-f]{62} \(\d+ bytes\), found sha256:/,
      );
      assert.doesNotMatch(stderr, /stream|left incomplete/);
    }
  });

  test('an index that lacks only attestations: prune is proposed first', async () => {
    const image = await imageOf('x', { family: OCI });
    const absent = ['one', 'two', 'three', 'four'].map((text) => part(OCI.manifest, { text }));
    const root = part(OCI.index, {
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: [
        descriptorOf(image.root, { platform: { os: 'linux', architecture: 'amd64' } }),
        ...absent.map((one) => descriptorOf(one, { platform: { os: 'unknown', architecture: 'unknown' } })),
      ],
    });
    const sample = { ...image, root, members: [image.root] };
    const files = layoutFiles([{ image: sample, annotations: { [REF]: 'demo/x:1' } }]);
    const layout = layFiles(join(tempFolder(), 'layout'), files);
    const target = join(tempFolder(), 'target');
    const { stderr } = await imgconv(['oci2reg', layout, target]);
    assert.match(
      stderr,
      /: not there: attestations: 4 manifests\n {2}--missing prune makes a new index of what is there; --missing sparse keeps/,
    );
    assert.equal((await imgconv(['oci2reg', layout, target, '--missing', 'prune'])).status, 0);
  });

  test('a link in the place of a file of a skopeo folder: what to do', async () => {
    const folder = tempFolder();
    for (const name of readdirSync(join(syncTree(), 'demo/base:1')))
      symlinkSync(join(syncTree(), 'demo/base:1', name), join(folder, name));
    const { stderr } = await imgconv(['dir2reg', folder, join(tempFolder(), 'target'), '-t', 'a:1']);
    assert.match(
      stderr,
      /is a symbolic link; imgconv follows none below .*\n {2}give the real folder or a copy made with cp -rL/,
    );
  });
});
