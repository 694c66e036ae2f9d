#!/usr/bin/env node
const { join } = require('node:path');

const V8 = Number(process.versions.v8.split('.')[0]);
/**
 * V8 optimizes what has run so many bytes of bytecode: eight times its own number, since a run of two seconds would spend
 * a quarter of its CPU time on that. Later versions than Node 20's have no such flag, and say so on stderr.
 */
const BUDGET = 66 * 1024;
const HAS_BUDGET = V8 === 11;
/** Node 20 to 24. */
const HAS_GROWTH = V8 >= 11 && V8 <= 13;
/**
 * A heap may grow to four times what is left of it by a collection, and with many images that is what it does: by half
 * costs a few more collections, by a quarter some more.
 */
const GROWTH = 50;
const LARGE_GROWTH = 25;
/**
 * From here on a collection also puts pages together that are a fifth empty, not only those that are empty by 70 %
 * (MarkCompactCollector::ComputeEvacuationHeuristics in V8 11.3): half of a heap of 100 MB was free, after images that
 * were done one by one. It costs no time that could be measured. The flag also sets --max-semi-space-size, which stays
 * set without it; threads that start meanwhile have 2 MB for young objects.
 */
const LARGE = 32 * 1024 * 1024;
/** Who chose a size for young objects keeps it. */
const HAS_CHOSEN_SIZE = [process.env.NODE_OPTIONS, ...process.execArgv].some((text) =>
  /semi.space/.test(text),
);
/**
 * What is young doubles, to 33 MB (134 MB in Node 24), when much of it lives on, as while thousands of images are looked
 * at: 8 MB do. Its limit is read when V8 starts, but not the factor by which it grows, which each thread that starts sets
 * to 2 again (Heap::ConfigureHeap in V8 11.3).
 */
const YOUNG_ENOUGH = 8 * 1024 * 1024;
const LOOK_MS = 50;

const args = process.argv.slice(2);
const manifest = join(__dirname, '../package.json');
if (args.length === 1 && args[0] === '--version') console.log(require(manifest).version);
else {
  // Conversions will want threads, which start beside what follows. What only comes from a registry, or goes to one, needs none.
  const isAsItIs =
    args.some((one) => one.startsWith('docker://')) && !args.some((one) => one.startsWith('docker-archive:'));
  if (/2|^(?:copy|push)$/.test(args[0]) && !isAsItIs) require('../dist/bundle/thread.js').startEarly();
  const { run, keep } = require('./load.js').load(args[0]);
  const { getHeapSpaceStatistics, setFlagsFromString } = require('node:v8');
  let isDense = false;
  const setFlags = (budget, heapGrowth) => {
    if (HAS_BUDGET) setFlagsFromString(`--interrupt-budget=${budget}`);
    if (!HAS_GROWTH) return;
    setFlagsFromString(`--heap-growing-percent=${heapGrowth}`);
    setFlagsFromString('--semi-space-growth-factor=2');
    if (!isDense) return;
    setFlagsFromString('--no-optimize-for-size');
    setFlagsFromString('--max-semi-space-size=0');
  };
  const sizeOf = (name) => getHeapSpaceStatistics().find((space) => space.space_name === name)?.space_size;
  const boundHeap = () => {
    if (sizeOf('new_space') >= YOUNG_ENOUGH) setFlagsFromString('--semi-space-growth-factor=1');
    if (sizeOf('old_space') < LARGE) return;
    setFlagsFromString(`--heap-growing-percent=${LARGE_GROWTH}`);
    if (HAS_CHOSEN_SIZE || isDense) return;
    isDense = true;
    setFlagsFromString('--optimize-for-size');
  };
  // Not before: V8 passes over what it compiled under other flags.
  setFlags(8 * BUDGET, GROWTH);
  if (HAS_GROWTH) setInterval(boundHeap, LOOK_MS).unref();
  // A run that ends without a result, because nothing is left that it could wait for, has failed.
  process.exitCode = 1;
  run(args, require(manifest).version).then((status) => {
    process.exitCode = status;
    if (status !== 0) return;
    setFlags(BUDGET, 0);
    keep();
  });
}
