const fs = require('node:fs');
const { createRequire } = require('node:module');
const { dirname, join } = require('node:path');
const { Script } = require('node:vm');

const file = join(__dirname, '../dist/bundle/main.js');
const DAYS_UNUSED = 30;
const HASH_LENGTH = 16;

/**
 * Where this user keeps what V8 compiled: it runs as it is, so nobody else may have been able to write it. Undefined
 * where there is no such place, or where it is another user's, as with `sudo -E`; in CI nothing is kept.
 */
function cacheFolder({ XDG_CACHE_HOME, HOME, CI }) {
  if (CI) return undefined;
  if (XDG_CACHE_HOME?.startsWith('/'))
    return { base: XDG_CACHE_HOME, folder: join(XDG_CACHE_HOME, 'imgconv') };
  return HOME?.startsWith('/') ? { base: HOME, folder: join(HOME, '.cache/imgconv') } : undefined;
}

function isOurs({ uid, mode }) {
  return uid === process.geteuid() && (mode & 0o022) === 0;
}

/** Undefined where it is not there, or may be another's. */
function readOurs(folder, path) {
  let fd;
  try {
    if (!isOurs(fs.lstatSync(folder))) return undefined;
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
    const status = fs.fstatSync(fd);
    return status.isFile() && isOurs(status) ? fs.readFileSync(fd) : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/** Puts it in place whole, or not at all, and takes away what other versions left there long ago. */
function write({ base, folder, path }, bytes) {
  const temporary = `${path}.${process.pid}.new`;
  try {
    if (fs.statSync(base, { throwIfNoEntry: false })?.uid !== process.geteuid()) return;
    // Not `recursive`, which in some Node versions tries for ever where a file system such as /proc answers ENOENT.
    for (const one of [dirname(folder), folder]) if (!fs.existsSync(one)) fs.mkdirSync(one, { mode: 0o700 });
    if (!isOurs(fs.lstatSync(folder))) return;
    for (const name of fs.readdirSync(folder)) {
      const old = join(folder, name);
      if (fs.lstatSync(old).mtimeMs < Date.now() - DAYS_UNUSED * 86_400_000) fs.unlinkSync(old);
    }
    const fd = fs.openSync(temporary, 'wx', 0o600);
    try {
      fs.writeSync(fd, bytes);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, path);
  } catch {
    // It is a matter of speed alone.
    try {
      fs.rmSync(temporary, { force: true });
    } catch {
      // Nothing is there, below what is no folder.
    }
  }
}

/**
 * The command, and `keep`, which keeps what V8 compiled of it for the next run of the same command, under the hash of the
 * script: V8 itself compares no more than the length, its own version and its flags.
 */
function load(word = '', env = process.env) {
  const text = fs.readFileSync(file, 'latin1');
  const place = /^[a-z0-9-]{0,32}$/.test(word) ? cacheFolder(env) : undefined;
  const name = `${text.slice(2, 2 + HASH_LENGTH)}-${process.version}-${process.arch}-${word}.v8`;
  const path = place && join(place.folder, name);
  const cachedData = place && readOurs(place.folder, path);
  const script = new Script(text, { filename: file, cachedData });
  const module = { exports: {} };
  script.runInThisContext()(module, module.exports, createRequire(file), file);
  const keep = () => {
    if (place && (cachedData === undefined || script.cachedDataRejected))
      write({ ...place, path }, script.createCachedData());
  };
  return { run: module.exports.main, keep };
}

exports.load = load;
