/*
 * Tree pseudo-LRU: a binary tree over the ways of a set, one bit per inner node that tells which half was used less
 * recently. Node 1 is the root, node n has the children 2n and 2n + 1; bit n - 1 of the state is node n.
 */

/** The tables of one number of ways; states fit in 15 bits for 16 ways. */
export interface PseudoLru {
  /** After way `w` was used: `state & keep[w] | set[w]`. */
  readonly keep: Int32Array;
  readonly set: Int32Array;
  /** The way to replace in each state. */
  readonly victim: Uint8Array;
}

/** Build the tables for `ways`, a power of two from 1 to 16. */
export function pseudoLru(ways: number): PseudoLru {
  const keep = new Int32Array(ways);
  const set = new Int32Array(ways);
  for (let way = 0; way < ways; way++) {
    let mask = 0;
    for (let node = ways + way; node > 1; node >>= 1) {
      const parentBit = 1 << ((node >> 1) - 1);
      mask |= parentBit;
      // Point away from the child that was used: 1 means the right half is older.
      if ((node & 1) === 0) set[way] |= parentBit;
    }
    keep[way] = ~mask;
  }
  const victim = new Uint8Array(2 ** (ways - 1));
  for (let state = 0; state < victim.length; state++) {
    let node = 1;
    while (node < ways) node = node * 2 + ((state >> (node - 1)) & 1);
    victim[state] = node - ways;
  }
  return { keep, set, victim };
}
