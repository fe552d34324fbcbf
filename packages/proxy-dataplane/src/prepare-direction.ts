import { fold } from "./checksum.ts";
import { DELTAS, FLAG_REWRITE, FLAGS, NEW_DESTINATION, NEW_PORTS, NEW_SOURCE } from "./connection-layout.ts";
import { swap16, swap32 } from "./words.ts";

/**
 * Fills the line of a direction with what its packets leave with: tuple `from` becomes tuple `to` with its sides swapped. IPv6
 * packets get their addresses from the tuples, of which one word is in the line.
 */
export function prepareDirection(words: Int32Array, line: number, from: number, to: number): void {
  const ports = (words[to + 8] << 16) | (words[to + 8] >>> 16);
  let changed = ports ^ words[from + 8];
  let sum = 0;
  for (let i = 0; i < 4; i++) {
    changed |= (words[from + i] ^ words[to + 4 + i]) | (words[from + 4 + i] ^ words[to + i]);
    sum += change(words[from + i], words[to + 4 + i]) + change(words[from + 4 + i], words[to + i]);
  }
  const addresses = fold(sum);
  const transport = fold(addresses + change(words[from + 8], ports));
  words[line + NEW_SOURCE] = swap32(words[to + 4]);
  words[line + NEW_DESTINATION] = swap32(words[to]);
  words[line + NEW_PORTS] = swap32(ports);
  words[line + DELTAS] = swap16(addresses) | (swap16(transport) << 16);
  if (changed !== 0) words[line + FLAGS] |= FLAG_REWRITE;
}

/** What replacing a word adds to a sum of `~m + m'` over its halves. */
function change(from: number, to: number): number {
  return from === to ? 0 : (~from >>> 16) + (~from & 0xffff) + (to >>> 16) + (to & 0xffff);
}
