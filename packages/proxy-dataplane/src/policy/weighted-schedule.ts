import { MAX_SCHEDULE } from "./limits.ts";

/**
 * One period of smooth weighted round robin (as of nginx): each server comes as often as its weight says, spread as evenly
 * as can be. It is computed once, so that all CPUs walk it by one shared count of turns. Weights are divided by their
 * greatest common divisor, and scaled down (to 1 at least) where the period would exceed {@link MAX_SCHEDULE}.
 *
 * @param servers - their numbers
 * @param weights - weight of every server by number
 */
export function weightedSchedule(servers: ArrayLike<number>, weights: ArrayLike<number>): Uint8Array {
  const shares = Array.from(servers, (server) => weights[server]);
  const divisor = shares.reduce(greatestCommonDivisor, 0);
  let period = shares.reduce((sum, share) => sum + share / divisor, 0);
  const scale = Math.min(1, MAX_SCHEDULE / period);
  const own = shares.map((share) => Math.max(1, Math.floor((share / divisor) * scale)));
  period = own.reduce((sum, share) => sum + share, 0);
  const current = own.map(() => 0);
  return Uint8Array.from({ length: period }, () => {
    let best = 0;
    for (let i = 0; i < own.length; i++) {
      current[i] += own[i];
      if (current[i] > current[best]) best = i;
    }
    current[best] -= period;
    return servers[best];
  });
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
