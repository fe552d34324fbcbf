import { parseAddress } from "../addresses.ts";

/** Addresses of a range, at most. */
const MAX_RANGE = 65_536;

/** A range of addresses that differ in their last word alone. */
export interface AddressRange {
  readonly family: 4 | 6;
  readonly first: Int32Array;
  readonly count: number;
}

/** The range of `203.0.113.4` or `203.0.113.4-203.0.113.7`; `undefined` when it is none, or longer than 65536. */
export function parseRange(text: string): AddressRange | undefined {
  const [from, to = from, ...rest] = text.split("-");
  const first = new Int32Array(4);
  const last = new Int32Array(4);
  const family = parseAddress(from, first, 0);
  if (family === 0 || rest.length > 0 || parseAddress(to, last, 0) !== family) return undefined;
  const word = family === 4 ? 0 : 3;
  for (let i = 0; i < word; i++) if (first[i] !== last[i]) return undefined;
  const count = (last[word] >>> 0) - (first[word] >>> 0) + 1;
  return count >= 1 && count <= MAX_RANGE ? { family, first, count } : undefined;
}

/** Addresses of one family to choose from. */
export class AddressPool {
  readonly size: number;
  readonly #ranges: readonly AddressRange[];
  readonly #lowWord: number;

  constructor(family: 4 | 6, ranges: readonly AddressRange[]) {
    this.#ranges = ranges.filter((range) => range.family === family);
    this.size = this.#ranges.reduce((sum, { count }) => sum + count, 0);
    this.#lowWord = family === 4 ? 0 : 3;
  }

  /** Writes address `index`, modulo the size, to `words[at .. at + 3]`. */
  write(index: number, words: Int32Array, at: number): void {
    let left = (index >>> 0) % this.size;
    for (const { first, count } of this.#ranges) {
      if (left < count) {
        for (let i = 0; i < 4; i++) words[at + i] = first[i];
        words[at + this.#lowWord] += left;
        return;
      }
      left -= count;
    }
  }
}

/** The pools of both families. */
export function poolsOf(texts: readonly string[]): { readonly ipv4: AddressPool; readonly ipv6: AddressPool } {
  const ranges = texts.flatMap((text) => parseRange(text) ?? []);
  return { ipv4: new AddressPool(4, ranges), ipv6: new AddressPool(6, ranges) };
}
