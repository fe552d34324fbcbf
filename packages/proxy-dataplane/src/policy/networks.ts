import { parsePrefix } from "../addresses.ts";
import type { AddressClass } from "./config.ts";

/** A range of numbers, `[start, end)`. Compile time only: 128-bit addresses are compared here, not on any path. */
export interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

/** Ranges of IPv4 and of IPv6 addresses. */
export interface AddressRanges {
  readonly ipv4: readonly Range[];
  readonly ipv6: readonly Range[];
}

export const IPV4_END: bigint = 1n << 32n;
export const IPV6_END: bigint = 1n << 128n;
/** First address of ::ffff:0:0/96, IPv4 addresses in IPv6 form. */
const MAPPED_START: bigint = 0xffffn << 32n;

/** The range of `10.0.0.0/8`, `::1` or the like; `undefined` when `text` is no network. */
export function parseNetwork(text: string): { readonly isIpv6: boolean; readonly range: Range } | undefined {
  const prefix = parsePrefix(text);
  if (prefix === undefined) return undefined;
  const { family, words, bits } = prefix;
  const value = family === 4 ? BigInt(words[0] >>> 0) : toBigInt(words);
  const size = 1n << BigInt((family === 4 ? 32 : 128) - bits);
  const start = value - (value % size);
  return normalize(family === 6, { start, end: start + size });
}

/** IPv4 networks in IPv6 form are IPv4 networks, as the addresses they hold are taken for IPv4 addresses. */
function normalize(isIpv6: boolean, range: Range): { readonly isIpv6: boolean; readonly range: Range } {
  if (!isIpv6 || range.start < MAPPED_START || range.end > MAPPED_START + IPV4_END) return { isIpv6, range };
  return { isIpv6: false, range: { start: range.start - MAPPED_START, end: range.end - MAPPED_START } };
}

function toBigInt(words: Int32Array): bigint {
  return words.reduce((value, word) => (value << 32n) | BigInt(word >>> 0), 0n);
}

/** The ranges of networks that {@link parseNetwork} accepts, in order and without overlap. */
export function rangesOf(networks: readonly string[]): AddressRanges {
  const parsed = networks.flatMap((text) => parseNetwork(text) ?? []);
  const of = (isIpv6: boolean): readonly Range[] =>
    mergeRanges(parsed.filter((network) => network.isIpv6 === isIpv6).map(({ range }) => range));
  return { ipv4: of(false), ipv6: of(true) };
}

/** The same numbers in ranges that are in order and neither overlap nor touch. */
export function mergeRanges(ranges: readonly Range[]): readonly Range[] {
  const merged: { start: bigint; end: bigint }[] = [];
  for (const { start, end } of [...ranges].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0))) {
    const last = merged.at(-1);
    if (last === undefined || start > last.end) merged.push({ start, end });
    else if (end > last.end) last.end = end;
  }
  return merged;
}

const LOOPBACK = ["127.0.0.0/8", "::1"];
const CLASS_NETWORKS: Readonly<Record<Exclude<AddressClass, "public">, readonly string[]>> = {
  loopback: LOOPBACK,
  local: [...LOOPBACK, "0.0.0.0/8", "::", "255.255.255.255"],
  "link-local": ["169.254.0.0/16", "fe80::/10"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"],
  multicast: ["224.0.0.0/4", "ff00::/8"],
};

/** The classes of addresses, `public` last: everything that no other has. */
export const ADDRESS_CLASSES: readonly AddressClass[] = [...(Object.keys(CLASS_NETWORKS) as AddressClass[]), "public"];

/** The addresses of some classes. */
export function rangesOfClasses(classes: readonly AddressClass[]): AddressRanges {
  const named = classes.filter((name) => name !== "public");
  const own = rangesOf(named.flatMap((name) => CLASS_NETWORKS[name]));
  if (named.length === classes.length) return own;
  const special = rangesOf(Object.values(CLASS_NETWORKS).flat());
  return {
    ipv4: mergeRanges([...own.ipv4, ...complement(special.ipv4, IPV4_END)]),
    ipv6: mergeRanges([...own.ipv6, ...complement(special.ipv6, IPV6_END)]),
  };
}

function complement(ranges: readonly Range[], end: bigint): readonly Range[] {
  const gaps: Range[] = [];
  let from = 0n;
  for (const range of ranges) {
    if (range.start > from) gaps.push({ start: from, end: range.start });
    from = range.end;
  }
  if (from < end) gaps.push({ start: from, end });
  return gaps;
}

/** The range of a port or of `8000-8999`; `undefined` when it is none. */
export function parsePorts(ports: number | string): Range | undefined {
  const [first, last = first, ...rest] = typeof ports === "number" ? [ports] : ports.split("-").map(toPort);
  if (rest.length > 0 || !(first >= 0 && first <= last && last <= 65535)) return undefined;
  return { start: BigInt(first), end: BigInt(last) + 1n };
}

function toPort(text: string): number {
  return /^(0|[1-9]\d{0,4})$/.test(text) ? Number(text) : Number.NaN;
}
