import { clearBit, setBit, type BitRowsBuilder } from "./bit-rows.ts";
import type { AddressRanges, Range } from "./networks.ts";

/** For each rule the ranges of its condition, without overlap; `undefined` without such a condition. */
export type RuleRanges = readonly (readonly Range[] | undefined)[];

/**
 * Cuts all numbers at the ends of all ranges. Calls `piece` for each piece, in order and from 0, with the rules that hold in
 * it: those with a range that covers it, and those without a condition.
 */
function sweep(rules: RuleRanges, rows: BitRowsBuilder, piece: (start: bigint, row: number) => void): void {
  const bits = rows.blank();
  const changes: { at: bigint; rule: number; begins: boolean }[] = [];
  rules.forEach((ranges, rule) => {
    if (ranges === undefined) setBit(bits, rule);
    for (const { start, end } of ranges ?? []) {
      changes.push({ at: start, rule, begins: true }, { at: end, rule, begins: false });
    }
  });
  changes.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : Number(a.begins) - Number(b.begins)));
  let position = 0n;
  let last = -1;
  const emit = (): void => {
    const row = rows.intern(bits);
    if (row !== last) piece(position, row);
    last = row;
  };
  for (const { at, rule, begins } of changes) {
    if (at > position) {
      emit();
      position = at;
    }
    if (begins) setBit(bits, rule);
    else clearBit(bits, rule);
  }
  emit();
}

/** Row of a number of 32 bits: which rules' ranges it lies in. Binary search. */
export class NumberIndex {
  readonly #starts: Uint32Array;
  readonly #rows: Int32Array;
  /**
   * First and last piece to be searched for each value of the top bits: saves the steps of the search that every number of
   * a large index takes. With few pieces there is one range for all.
   */
  readonly #from: Uint32Array;
  readonly #shift: number;

  constructor(rules: RuleRanges, rows: BitRowsBuilder, bits: number) {
    const starts: number[] = [];
    const found: number[] = [];
    sweep(rules, rows, (start, row) => {
      // The piece behind the last number is empty.
      if (start >> BigInt(bits) !== 0n) return;
      starts.push(Number(start));
      found.push(row);
    });
    this.#starts = Uint32Array.from(starts);
    this.#rows = Int32Array.from(found);
    const top = starts.length > 16 ? 8 : 0;
    this.#shift = bits - top;
    this.#from = new Uint32Array((1 << top) + 1);
    for (let i = 0; i <= 1 << top; i++) this.#from[i] = this.#lastBefore(i * 2 ** this.#shift);
  }

  find(value: number): number {
    const starts = this.#starts;
    const top = this.#shift === 32 ? 0 : value >>> this.#shift;
    let low = this.#from[top];
    let high = this.#from[top + 1];
    const wanted = value >>> 0;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (starts[middle] <= wanted) low = middle;
      else high = middle - 1;
    }
    return this.#rows[low];
  }

  #lastBefore(value: number): number {
    let at = this.#starts.length - 1;
    while (at > 0 && this.#starts[at] > value) at--;
    return at;
  }
}

/** Row of an IPv6 address. */
class Ipv6Index {
  readonly #starts: Uint32Array;
  readonly #rows: Int32Array;

  constructor(rules: RuleRanges, rows: BitRowsBuilder) {
    const starts: number[] = [];
    const found: number[] = [];
    sweep(rules, rows, (start, row) => {
      if (start >> 128n !== 0n) return;
      for (const shift of [96n, 64n, 32n, 0n]) starts.push(Number((start >> shift) & 0xffff_ffffn));
      found.push(row);
    });
    this.#starts = Uint32Array.from(starts);
    this.#rows = Int32Array.from(found);
  }

  find(words: Int32Array, at: number): number {
    let low = 0;
    let high = this.#rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#isAtMost(middle * 4, words, at)) low = middle;
      else high = middle - 1;
    }
    return this.#rows[low];
  }

  #isAtMost(start: number, words: Int32Array, at: number): boolean {
    const starts = this.#starts;
    for (let i = 0; i < 4; i++) {
      const word = words[at + i] >>> 0;
      if (starts[start + i] !== word) return starts[start + i] < word;
    }
    return true;
  }
}

/** Row of an address of either family. IPv4 addresses in IPv6 form (::ffff:0:0/96) are looked up as IPv4 addresses. */
export class AddressIndex {
  readonly #ipv4: NumberIndex;
  readonly #ipv6: Ipv6Index;
  readonly #unknown: number;

  constructor(rules: readonly (AddressRanges | undefined)[], rows: BitRowsBuilder) {
    this.#ipv4 = new NumberIndex(
      rules.map((ranges) => ranges?.ipv4),
      rows,
      32,
    );
    this.#ipv6 = new Ipv6Index(
      rules.map((ranges) => ranges?.ipv6),
      rows,
    );
    const bits = rows.blank();
    rules.forEach((ranges, rule) => {
      if (ranges === undefined) setBit(bits, rule);
    });
    this.#unknown = rows.intern(bits);
  }

  /** `words[at ..]` as in a flow key. */
  find(words: Int32Array, at: number, isIpv6: boolean): number {
    if (!isIpv6) return this.#ipv4.find(words[at]);
    if (isMappedIpv4(words, at)) return this.#ipv4.find(words[at + 3]);
    return this.#ipv6.find(words, at);
  }

  /** Row of an address that is not known: rules without a condition on it. */
  get unknown(): number {
    return this.#unknown;
  }
}

/** Whether the IPv6 address at `words[at ..]` is an IPv4 address in IPv6 form. */
export function isMappedIpv4(words: Int32Array, at: number): boolean {
  return words[at + 2] === 0xffff && words[at] === 0 && words[at + 1] === 0;
}
