#!/usr/bin/env node
const { join } = require('node:path');

const args = process.argv.slice(2);
const manifest = join(__dirname, '../package.json');
if (args.length === 1 && args[0] === '--version') console.log(require(manifest).version);
else {
  // Conversions will want threads, which start beside what follows.
  if (/2|^(?:copy|push)$/.test(args[0])) require('../dist/bundle/thread.js').startEarly();
  require('./load.js')
    .load()
    .run(args, require(manifest).version)
    .then((status) => {
      process.exitCode = status;
    });
}
