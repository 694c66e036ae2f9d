import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { titleOf, type Bench, type Conversion } from './bench.js';
import type { Result } from './faults.js';
import { faultsOf } from './judge.js';
import type { Found, Run } from './outcome.js';

/** How much larger the disk of each next run is, in bytes. */
const STEP = 24 * 1024;

/** True when file systems can be mounted here: that takes root. */
export function canMount(folder: string): boolean {
  try {
    mount(folder, 1 << 20);
    execFileSync('umount', [folder]);
    return true;
  } catch {
    return false;
  }
}

function mount(folder: string, size: number): void {
  mkdirSync(folder, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder], { stdio: 'ignore' });
}

/** Runs a conversion onto disks of every size, from one that is full at once to one on which all has room. */
export async function fillUp(bench: Bench, run: Run, conversion: Conversion, tell: Found): Promise<Result> {
  const wanted = await bench.undisturbed(run, conversion);
  for (let runs = 1, size = STEP; ; runs++, size += STEP) {
    bench.prepare(conversion);
    const folder = join(bench.folder, 'case');
    const before = join(bench.folder, 'before');
    cpSync(folder, before, { recursive: true });
    mount(folder, size);
    try {
      cpSync(before, folder, { recursive: true });
    } catch {
      execFileSync('umount', [folder]);
      rmSync(before, { recursive: true });
      continue; // There is no room for what was there before.
    }
    try {
      const outcome = await bench.run(run, conversion);
      const found = faultsOf(bench, conversion, outcome, wanted, false);
      if (outcome.status !== 0) {
        execFileSync('mount', ['-o', 'remount,size=64m', folder]);
        found.push(...(await bench.again(run, conversion, false)));
      }
      for (const problem of found) tell(`${titleOf(conversion)} with ${size} bytes: ${problem}`);
      if (outcome.status === 0) return { runs };
    } finally {
      execFileSync('umount', [folder]);
      rmSync(before, { recursive: true });
    }
  }
}
