import { KEY_IPV6 } from "../packet-info.ts";
import { BitRowsBuilder, type BitRows } from "./bit-rows.ts";
import type { ProcessConditions, ProcessFacts, ProxyRule } from "./config.ts";
import type { FlowFacts } from "./facts.ts";
import { HostIndex } from "./host-index.ts";
import { mergeRanges, parsePorts, rangesOf, rangesOfClasses, type Range } from "./networks.ts";
import { AddressIndex, NumberIndex } from "./range-index.ts";
import { TextIndex } from "./text-index.ts";

const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58 };
/** Rows of one search: all rules, two addresses, class, two ports, protocol, host, user, six of the process. */
const MAX_ROWS = 15;

type ProcessKind = keyof ProcessConditions;
const PROCESS_KINDS: readonly ProcessKind[] = ["pid", "uid", "gid", "comm", "path", "cgroup"];
const PROCESS_MATCHING = {
  comm: "exact",
  path: "folder",
  cgroup: "subtree",
  pid: "exact",
  uid: "exact",
  gid: "exact",
} as const;

/**
 * Rules, made ready to be searched: for each kind of condition that any rule has, an index from the flow's value to a row of
 * the rules that hold for it. The first rule of all is the lowest bit in all rows. A kind no rule uses costs nothing.
 *
 * Not for two threads at once: rows of host names and texts are put together in place.
 */
export class RuleTable {
  readonly #rows: BitRows;
  readonly #source: AddressIndex | undefined;
  readonly #destination: AddressIndex | undefined;
  readonly #classes: AddressIndex | undefined;
  readonly #sourcePorts: NumberIndex | undefined;
  readonly #ports: NumberIndex | undefined;
  readonly #protocols: NumberIndex | undefined;
  readonly #hosts: HostIndex | undefined;
  readonly #users: TextIndex | undefined;
  readonly #processes: readonly { readonly kind: ProcessKind; readonly index: TextIndex }[];
  readonly #all: number;
  readonly #offsets = new Int32Array(MAX_ROWS);

  constructor(rules: readonly ProxyRule[]) {
    const rows = new BitRowsBuilder(rules.length);
    const of = <Condition, Index>(
      condition: (rule: ProxyRule) => Condition | undefined,
      make: (conditions: readonly (Condition | undefined)[]) => Index,
    ): Index | undefined => {
      const conditions = rules.map(condition);
      return conditions.every((one) => one === undefined) ? undefined : make(conditions);
    };
    const addresses = (lists: readonly (ReturnType<typeof rangesOf> | undefined)[]): AddressIndex =>
      new AddressIndex(lists, rows);
    this.#source = of(({ source }) => source && rangesOf(source), addresses);
    this.#destination = of(({ destination }) => destination && rangesOf(destination), addresses);
    this.#classes = of(({ classes }) => classes && rangesOfClasses(classes), addresses);
    const portIndex = (lists: readonly (readonly Range[] | undefined)[]): NumberIndex =>
      new NumberIndex(lists, rows, 16);
    this.#sourcePorts = of(({ sourcePorts }) => sourcePorts && portRanges(sourcePorts), portIndex);
    this.#ports = of(({ ports }) => ports && portRanges(ports), portIndex);
    this.#protocols = of(
      ({ protocols }) => protocols && protocolRanges(protocols),
      (lists) => new NumberIndex(lists, rows, 8),
    );
    this.#hosts = of(
      ({ hosts }) => hosts,
      (lists) => new HostIndex(lists, rows),
    );
    this.#users = of(
      ({ users }) => users,
      (lists) => new TextIndex(lists, rows, "any-star"),
    );
    this.#processes = PROCESS_KINDS.flatMap((kind) => {
      const index = of(
        (rule): readonly (string | number)[] | undefined => rule.process?.[kind],
        (lists) => new TextIndex(lists, rows, PROCESS_MATCHING[kind]),
      );
      return index === undefined ? [] : [{ kind, index }];
    });
    const all = rows.blank();
    rules.forEach((_, rule) => (all[rule >> 5] |= 1 << (rule & 31)));
    this.#all = rows.intern(all);
    this.#rows = rows.finish();
  }

  /** The first rule that holds for the flow of the key at `key[at ..]`, or -1. */
  find(key: Int32Array, at: number, facts: FlowFacts): number {
    const offsets = this.#offsets;
    const rows = this.#rows;
    const isIpv6 = (key[at + 9] & KEY_IPV6) !== 0;
    const ports = key[at + 8];
    // Rules without any condition are in this row alone.
    offsets[0] = this.#all;
    let count = 1;
    if (this.#source !== undefined) offsets[count++] = this.#source.find(key, at, isIpv6);
    if (this.#destination !== undefined) offsets[count++] = this.#of(this.#destination, key, at + 4, isIpv6, facts);
    if (this.#classes !== undefined) offsets[count++] = this.#of(this.#classes, key, at + 4, isIpv6, facts);
    if (this.#sourcePorts !== undefined) offsets[count++] = this.#sourcePorts.find(ports >>> 16);
    if (this.#ports !== undefined) offsets[count++] = this.#ports.find(ports & 0xffff);
    if (this.#protocols !== undefined) offsets[count++] = this.#protocols.find(key[at + 9] & 0xff);
    if (this.#hosts !== undefined) offsets[count++] = this.#hosts.find(facts.name, facts.nameLength, rows);
    if (this.#users !== undefined) offsets[count++] = this.#users.find(facts.user, rows);
    if (this.#processes.length > 0) count = this.#findProcess(facts.process, count);
    return rows.firstCommon(offsets, count);
  }

  #of(index: AddressIndex, key: Int32Array, at: number, isIpv6: boolean, facts: FlowFacts): number {
    return facts.nameOnly ? index.unknown : index.find(key, at, isIpv6);
  }

  #findProcess(process: ProcessFacts | undefined, from: number): number {
    let count = from;
    for (const { kind, index } of this.#processes) this.#offsets[count++] = index.find(process?.[kind], this.#rows);
    return count;
  }
}

export function portRanges(ports: readonly (number | string)[]): readonly Range[] {
  return mergeRanges(ports.flatMap((one) => parsePorts(one) ?? []));
}

function protocolRanges(protocols: NonNullable<ProxyRule["protocols"]>): readonly Range[] {
  const numbers = protocols.map((one) => BigInt(typeof one === "number" ? one : PROTOCOL_NUMBERS[one]));
  return mergeRanges(numbers.map((start) => ({ start, end: start + 1n })));
}
