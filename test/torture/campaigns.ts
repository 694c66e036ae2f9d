import { bits } from './bits.js';
import type { Campaign } from './campaign.js';
import { fuzz } from './fuzz.js';
import { pipe } from './pipe.js';
import { registry } from './registry.js';
import { surroundings } from './surroundings.js';

/** Benches that run numbered cases in this machine's memory. */
export const CAMPAIGNS: readonly Campaign[] = [bits, fuzz, pipe, surroundings, registry];
