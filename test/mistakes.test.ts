import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { syncTree } from './support/fixtures.js';
import { refusals } from './support/refusals.js';
import { tempFolder } from './support/temp.js';

const folder = tempFolder();

function file(name: string, content: string | Uint8Array = ''): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const paths = {
  SRC: syncTree(),
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
  ['dir2reg SRC DST --images-file WORDS', 'words.list:1: more than a source and a target: one two', A_LIST],
  ['dir2reg SRC DST --images-file NEWNAME', 'new-name.list:2: "UPPER:1" is not', 'REPOSITORY:TAG'],
  ['sync LONG DST --src list --dest reg', `: a b ${'c'.repeat(96)}  a list`, 'imgconv images'],
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
    ['sync SRC DST --src yaml --dest reg', `${paths.SRC}: a folder, not a file`, 'nothing is half done'],
    ['sync NOPE DST --src yaml --dest reg', 'nope: no such file', 'a slip in the path'],
    ['sync NOYAML DST --src yaml --dest reg', 'broken.yml:2: ', 'mend the file where it is said above'],
    ['sync NOIMAGES DST --src yaml --dest reg', 'none.yml: it names no images', 'images-by-semver'],
    ['sync EMPTY DST --src yaml --dest reg', 'empty.list: there is nothing in it', 'mend the file'],
  ],
  1,
);
