import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { findProgram } from '../src/storage/program.js';
import { imgconv } from './support/cli.js';
import { projectRoot } from './support/fixtures.js';
import { put } from './support/images.js';
import { tempFolder } from './support/temp.js';

function program(path: string, script: string): void {
  put(path, `#!/bin/sh\n${script}`);
  chmodSync(path, 0o755);
}

/**
 * Takes its words as helm does: options wherever they stand, up to a `--` (`parseArgs` in spf13/pflag's flag.go), then
 * NAME and CHART, or CHART alone. Tells its words, its environment and its chart's values.
 */
const HELM = `
n=0 dash=
for word; do
  if [ -z "$dash" ]; then
    case $word in
      --) dash=1; continue ;;
      --post-renderer=*) "\${word#*=}"; continue ;;
      --output-dir=*) mkdir -p "\${word#*=}"; continue ;;
      -?*) continue ;;
    esac
  fi
  n=$((n + 1))
  eval "word$n=\\$word"
done
chart=\${word3-$word2}
printf '%s\\n' "$@" >>"$HELM_CONFIG_HOME/words"
env >>"$HELM_CONFIG_HOME/environment"
cat "$chart/values.yaml"
`;

const pod = (image: string) => `apiVersion: v1\nkind: Pod\nspec: {containers: [{image: "${image}"}]}\n`;

describe('a word from a folder is no option of helm', () => {
  for (const folder of [
    '--post-renderer=./evil',
    '--output-dir=./made',
    '-fvalues',
    '--',
    'oci:/host/chart',
    'with space ',
  ]) {
    test(JSON.stringify(folder), async () => {
      const home = tempFolder();
      program(join(home, 'bin/helm'), HELM);
      const place = join(home, 'place');
      program(join(place, 'evil'), `touch '${home}/ran'\n`);
      for (const name of ['release-name', 'with space', folder]) {
        put(join(place, name, 'Chart.yaml'), 'name: a\n');
        put(join(place, name, 'values.yaml'), pod(name === folder ? 'odd:1' : 'plain:1'));
      }
      const { status, stdout, stderr } = await imgconv(['images', '.'], {
        cwd: place,
        env: {
          PATH: `${home}/bin:/usr/bin:/bin`,
          HELM_CONFIG_HOME: home,
          HELM_KUBETOKEN: 'secret-token',
          AWS_SECRET_ACCESS_KEY: 'secret-key',
        },
      });
      assert.deepEqual([status, stdout, stderr], [0, 'odd:1\nplain:1\n', '']);
      assert.equal(existsSync(join(home, 'ran')), false);
      assert.equal(existsSync(join(place, 'made')), false);
      const words = readFileSync(join(home, 'words'), 'utf8');
      assert.ok(words.includes(`template\n--\nrelease-name\n${join(place, folder)}/\n`), words);
      assert.doesNotMatch(readFileSync(join(home, 'environment'), 'utf8'), /secret/);
    });
  }
});

describe('the search path', () => {
  test('has no relative entries: a program in the current folder is not run', async () => {
    const place = tempFolder();
    for (const name of ['helm', 'bin/helm', 'sync', 'docker-credential-x'])
      program(join(place, name), `touch '${place}/ran'\n`);
    put(join(place, 'chart/Chart.yaml'), 'name: a\n');
    put(join(place, 'chart/values.yaml'), 'image: {repository: a, tag: "1"}\n');
    put(join(place, 'auth.json'), '{"credsStore": "x"}');
    for (const PATH of ['.:bin', ':bin::', '']) {
      const images = await imgconv(['images', '.'], { cwd: place, env: { PATH } });
      assert.equal(images.stdout, 'a:1\n');
      const ls = ['ls', 'docker://127.0.0.1:1/a', '--authfile', 'auth.json', '--retry-times', '0'];
      assert.equal((await imgconv(ls, { cwd: place, env: { PATH } })).status, 1);
      assert.equal(existsSync(join(place, 'ran')), false);
    }
  });

  test('gives the first program that can be run', () => {
    const place = tempFolder();
    mkdirSync(join(place, 'a/tool'), { recursive: true });
    put(join(place, 'b/tool'), 'not executable');
    program(join(place, 'c/tool'), '');
    const path = ['a', 'b', 'c'].map((name) => join(place, name)).join(':');
    assert.equal(findProgram('tool', path), join(place, 'c/tool'));
    assert.equal(findProgram('tool', `${place}/a:${place}/b:c`), undefined);
  });
});

/** Each call that starts a program, and why no word of a file, folder or image can be an option of it. */
const CALLS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'src/formats/docker/credentials.ts': {
    "const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], timeout: HELPER_MS });":
      'one constant word; the host goes to stdin; the name is a plain word, looked up in the search path',
  },
  'src/storage/transaction.ts': {
    "const child = spawn(program, ['-f', '--', resolve(path)], { stdio: 'ignore', env: {} });":
      'an absolute path behind --',
  },
  'src/cli/auth-file.ts': {
    'const { status, stdout } = spawnSync(path, [verb], { input, stdio: [...stdio], timeout: 30_000 });':
      'docker-credential-NAME, whose name was checked, and the one word of its protocol',
  },
  'src/formats/containerd-snapshots.ts': {
    'const child = spawn(tar, [`--directory=${folder}`, ...WORDS], {':
      "a folder after its option's =, and words that are written here",
  },
  'src/formats/docker-daemon/endpoint.ts': {
    'this.#start = () => spawn(ssh, sshArguments(endpoint), { detached: true });':
      'user and host are plain words that do not begin with a dash, the host behind --',
  },
  'src/discover/helm.ts': {
    'execFile(': 'helm template -- release-name, then an absolute path',
  },
};

/** The programs of the scripts. */
const COMMAND =
  /(?:^|[|&;({]|\b(?:then|else|do|exec|env)\b)\s*((?:[A-Z_]+=\S* )*(?:imgconv|"\$IMGCONV"|node|skopeo|find|sed|mkdir|mv|cp|rm|ln|cat|mktemp|dirname|basename|readlink|sort|tar|xargs|cd)\b[^|&;)]*)/g;
/** Words that a program is given without a `--` before them, and why they may. */
const WORDS: Readonly<Record<string, string>> = {
  '"$IMGCONV" "$@"': 'calls of the function imgconv are looked at themselves',
  'node "$here/imgconv.js" "$@"': 'the same; $here is absolute',
};
/** Arrays of options that the script itself fills. */
const OPTIONS = /"\$\{(?:all|exact)\[@\]\}"|"\$@"/g;

function sources(folder: string, ending: RegExp): string[] {
  return readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .map((name) => `${folder}/${name}`)
    .sort();
}

test('what follows -- is an operand of imgconv, whatever it begins with', async () => {
  const place = tempFolder();
  put(join(place, '--help'), 'a:1\n');
  put(join(place, '-x.list'), 'b:1\n');
  const images = await imgconv(['images', '--why', '--', '--help', '-x.list', '-'], {
    cwd: place,
    stdin: 'c:1\n',
  });
  assert.deepEqual(
    [images.stdout, images.stderr],
    ['a:1\n  # --help:1\nb:1\n  # -x.list:1\nc:1\n  # stdin:1\n', ''],
  );
  const wrong = await imgconv(['gc', '--', '--dry-run', '-a']);
  assert.match(wrong.stderr, /^imgconv: .*-a: one operand too many/);
});

describe('every program that is started', () => {
  test('in src and bin is listed here with the reason why its words are safe', () => {
    const files = [...sources('src', /\.ts$/), ...sources('bin', /\.js$/)];
    const found = files.flatMap((file) => {
      const text = readFileSync(join(projectRoot, file), 'utf8');
      if (!/child_process|process\.binding|execve|node:cluster/.test(text)) return [];
      const calls = text
        .split('\n')
        .filter((line) =>
          /(?<![.\w])(?:spawn|spawnSync|exec|execSync|execFile|execFileSync|fork)\(|child_process['"]?\)?\./.test(
            line,
          ),
        );
      return [[file, calls.map((line) => line.trim())] as const];
    });
    assert.deepEqual(
      Object.fromEntries(found),
      Object.fromEntries(Object.entries(CALLS).map(([file, calls]) => [file, Object.keys(calls)])),
    );
  });

  test('in the scripts has -- before words of others, or is listed here', () => {
    for (const file of sources('bin', /\.sh$/)) {
      const text = readFileSync(join(projectRoot, file), 'utf8')
        .replace(/cat <<'TEXT'[^]*?^TEXT$/gm, '')
        .replace(/\\\n\s*/g, '')
        .replace(/(?:^|\s)#.*$/gm, '')
        .replace(/'[^'\n]*'/g, "''")
        .replace(/[<>]+\s*(?:"[^"]*"|&\d)/g, '');
      const commands = text.split('\n').flatMap((line) => [...line.trim().matchAll(COMMAND)]);
      assert.ok(commands.length > 2, file);
      const open = commands
        .map(([, command = '']) => command.trim())
        .filter((command) => WORDS[command] === undefined)
        .filter((command) => /\$(?!\()/.test((command.split(' -- ')[0] ?? '').replace(OPTIONS, '')));
      assert.deepEqual(open, [], file);
    }
  });
});
