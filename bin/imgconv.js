#!/usr/bin/env node
const { join } = require('node:path');

/**
 * V8 optimizes what has run so many bytes of bytecode: eight times its own number, since a run of two seconds would spend
 * a quarter of its CPU time on that. Later versions than Node 20's have no such flag, and say so on stderr.
 */
const V8_BUDGET = 66 * 1024;
const INTERRUPT_BUDGET = 8 * V8_BUDGET;
/**
 * A heap may grow to four times what is left of it by a collection, and with many images that is what it does: by half
 * costs a few more collections.
 */
const HEAP_GROWTH = 50;
/**
 * What is young doubles to 33 MB when much of it lives on, as while thousands of images are looked at. A quarter does.
 * Its limit is read when V8 starts, but not the factor by which it grows, which each thread that starts sets to 2 again
 * (Heap::ConfigureHeap in V8 11.3).
 */
const YOUNG_ENOUGH = 8 * 1024 * 1024;
const YOUNG_LOOK_MS = 50;
const HAS_FLAGS = process.versions.v8.startsWith('11.');

const args = process.argv.slice(2);
const manifest = join(__dirname, '../package.json');
if (args.length === 1 && args[0] === '--version') console.log(require(manifest).version);
else {
  // Conversions will want threads, which start beside what follows. What only comes from a registry, or goes to one, needs none.
  const isAsItIs =
    args.some((one) => one.startsWith('docker://')) && !args.some((one) => one.startsWith('docker-archive:'));
  if (/2|^(?:copy|push)$/.test(args[0]) && !isAsItIs) require('../dist/bundle/thread.js').startEarly();
  const { run, keep } = require('./load.js').load(args[0]);
  const setFlags = (budget, growth) => {
    if (!HAS_FLAGS) return;
    const { setFlagsFromString } = require('node:v8');
    setFlagsFromString(`--interrupt-budget=${budget}`);
    setFlagsFromString(`--heap-growing-percent=${growth}`);
    setFlagsFromString('--semi-space-growth-factor=2');
  };
  const boundYoung = () => {
    const { getHeapSpaceStatistics, setFlagsFromString } = require('node:v8');
    const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
    if (young.space_size >= YOUNG_ENOUGH) setFlagsFromString('--semi-space-growth-factor=1');
  };
  // Not before: V8 passes over what it compiled under other flags.
  setFlags(INTERRUPT_BUDGET, HEAP_GROWTH);
  if (HAS_FLAGS) setInterval(boundYoung, YOUNG_LOOK_MS).unref();
  // A run that ends without a result, because nothing is left that it could wait for, has failed.
  process.exitCode = 1;
  run(args, require(manifest).version).then((status) => {
    process.exitCode = status;
    if (status !== 0) return;
    setFlags(V8_BUDGET, 0);
    keep();
  });
}
