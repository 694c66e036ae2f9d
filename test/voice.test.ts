import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { imgconv } from './support/cli.js';
import { projectRoot, syncTree } from './support/fixtures.js';
import { tempFolder } from './support/temp.js';

const PROGRAM = `
  import { convert, parsePlace, parsePlatform } from ${JSON.stringify(join(projectRoot, 'dist/lib/index.js'))};
  const said = async (work) => { try { await work(); } catch (error) { console.log(error.message, '|', error.hint); } };
  const [tree, store] = process.argv.slice(1).map((text) => parsePlace(text));
  await said(() => convert(tree, store, { compression: 'keep', level: 3 }));
  await said(() => parsePlatform('linux'));
  await said(() => convert(tree, store, { tag: 'a--no-extras:1' }));
  const { images } = await convert(tree, store, { selectors: [{ text: 'demo/nope:1', rename: undefined, where: 'here' }] });
  console.log(images[0].error.message, '|', images[0].error.hint);
`;

test('errors of the library speak of its own options, those of the command of its flags', async () => {
  const store = join(tempFolder(), 'store');
  const program = ['--input-type=module', '-e', PROGRAM, '--', `dir:${syncTree()}`, `reg:${store}`];
  const text = execFileSync(process.execPath, program, { encoding: 'utf8' });
  assert.match(
    text,
    /^level 3: with compression: 'keep' nothing is compressed \| did you mean compression: 'gzip'/m,
  );
  assert.match(text, /^platforms: "linux" is not os\/arch/m);
  assert.match(text, /a--no-extras:1/);
  assert.equal(/ --[a-z]/.test(text), false, text);
  const { stderr } = await imgconv([
    'dir2reg',
    syncTree(),
    store,
    '--compression',
    'keep',
    '--compression-level',
    '3',
  ]);
  assert.match(
    stderr,
    /--compression-level 3: with --compression keep nothing is compressed\n {2}did you mean --compression gzip/,
  );
});
