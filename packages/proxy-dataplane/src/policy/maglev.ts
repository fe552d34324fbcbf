import { jhash2Words, jhash3Words } from "@x/perf-cache";
import type { Identity } from "./server-set.ts";

/** Seeds of the two hashes that place a server; any two different numbers. */
const OFFSET_SEED = 0x5bd1e995;
const SKIP_SEED = 0x1b873593;

/** A member of a Maglev table. Its places depend on its identity alone, not on its number. */
export interface MaglevMember {
  readonly server: number;
  readonly weight: number;
  readonly identity: Identity;
}

/**
 * The lookup table of section 3.4 of the Maglev paper: members take places in turn, each by its own permutation of all
 * places, until all are taken. With weights, a member takes part in as many turns as its weight is of the largest. The same
 * members give the same table in every thread and process. About `size * ln(size)` steps.
 *
 * @param size - a prime, so that every skip visits every place
 */
export function buildMaglevTable(members: readonly MaglevMember[], size: number): Uint8Array {
  const table = new Uint8Array(size);
  if (members.length === 0) return table;
  const taken = new Uint8Array(size);
  // Turns are in the order of identities, so that a table does not depend on the order of a configuration.
  const order = [...members].sort((a, b) => a.identity.high - b.identity.high || a.identity.low - b.identity.low);
  const largest = Math.max(...order.map(({ weight }) => weight));
  const next = order.map(({ identity }) => (jhash2Words(identity.low, identity.high, OFFSET_SEED) >>> 0) % size);
  const skips = order.map(
    ({ identity }) => 1 + ((jhash2Words(identity.low, identity.high, SKIP_SEED) >>> 0) % (size - 1)),
  );
  const credit = order.map(() => 0);
  for (let filled = 0; ;) {
    for (let i = 0; i < order.length; i++) {
      credit[i] += order[i].weight;
      if (credit[i] < largest) continue;
      credit[i] -= largest;
      while (taken[next[i]] !== 0) next[i] = (next[i] + skips[i]) % size;
      taken[next[i]] = 1;
      table[next[i]] = order[i].server;
      if (++filled === size) return table;
    }
  }
}

/** Where a flow with this hash looks in the `attempt`-th place: 0 at first, more when the server found there is not healthy. */
export function maglevPlace(hash: number, attempt: number, size: number): number {
  return (attempt === 0 ? hash >>> 0 : jhash3Words(hash, attempt, 0, SKIP_SEED) >>> 0) % size;
}
