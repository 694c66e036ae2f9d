import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runCampaign, runHere, type Campaign } from './campaign.js';
import { CAMPAIGNS } from './campaigns.js';

const USAGE = `npm run test:hostile -- [BENCH…] [--seed SEED] [--cases N] [--from N] [--only N]

Runs each bench's full number of cases, or --cases of them from number --from on. What fails is named by its number:
--only with the same seed runs that case alone, here, so that it can be debugged. Benches: ${CAMPAIGNS.map(({ name, cases }) => `${name} (${cases})`).join(' ')}
`;

async function runOne(campaign: Campaign, seed: string, from: number, to: number): Promise<boolean> {
  const since = Date.now();
  const say = (text: string) => process.stdout.write(`${campaign.name}: ${text}\n`);
  say(`seed ${seed}, cases ${from} to ${to - 1}`);
  const score = await runCampaign(campaign, seed, {
    from,
    to,
    onFailed: ({ number, why }) => {
      say(`FAILED: --seed ${seed} --only ${number}: ${why}`);
    },
    onProgress: (done) => {
      say(`${done} of ${to - from} after ${Math.round((Date.now() - since) / 1000)} s`);
    },
  });
  for (const [outcome, count] of [...score.tally].sort()) say(`${String(count).padStart(7)} ${outcome}`);
  const { failed, peakBytes, slowestMs } = score;
  say(
    `${to - from} cases, ${failed.length} failed; slowest ${slowestMs} ms, peak ${Math.round(peakBytes / 1e6)} MB, ${Math.round((Date.now() - since) / 1000)} s`,
  );
  return failed.length === 0;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string' },
      cases: { type: 'string' },
      from: { type: 'string', default: '0' },
      only: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const chosen = CAMPAIGNS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const unknown = positionals.filter((name) => !CAMPAIGNS.some((one) => one.name === name));
  if (values.help === true || unknown.length > 0) {
    process.stdout.write(USAGE);
    return unknown.length > 0 ? 2 : 0;
  }
  const seed = values.seed ?? randomBytes(4).toString('hex');
  let sound = true;
  for (const campaign of chosen) {
    if (values.only !== undefined) {
      await runHere(campaign, seed, [Number(values.only)], ({ outcome, why }) => {
        if (outcome !== undefined) process.stdout.write(`${outcome}\n`);
        if (why !== undefined) process.stdout.write(`FAILED: ${why}\n`);
        sound &&= why === undefined;
      });
      continue;
    }
    const from = Number(values.from);
    sound = (await runOne(campaign, seed, from, from + Number(values.cases ?? campaign.cases))) && sound;
  }
  return sound ? 0 : 1;
}

process.exitCode = await main();
