/** Four octets in dotted decimal. */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/**
 * The text of an address in a flow key: dotted decimal, or RFC 5952 (lower case, the longest run of two or more zero
 * groups as `::`).
 *
 * @param words - four big-endian words at `from`, IPv4 in the first alone
 *
 * @public
 */
export function formatAddress(words: Int32Array, from: number, isIpv6: boolean): string {
  if (!isIpv6) return formatIpv4(words[from]);
  const groups: number[] = [];
  for (let i = 0; i < 4; i++) groups.push(words[from + i] >>> 16, words[from + i] & 0xffff);
  const { start, length } = longestZeroRun(groups);
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(":");
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (start + length < groups.length && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}

/**
 * Reads an IPv4 or IPv6 address into four words at `from` (IPv4 in the first, rest 0).
 *
 * @returns 4, 6, or 0 when `text` is no address
 *
 * @public
 */
export function parseAddress(text: string, words: Int32Array, from: number): 0 | 4 | 6 {
  words[from] = words[from + 1] = words[from + 2] = words[from + 3] = 0;
  const value = parseIpv4(text);
  if (value !== undefined) {
    words[from] = value;
    return 4;
  }
  const groups = text.includes(":") ? parseIpv6(text) : undefined;
  if (groups === undefined) return 0;
  for (let i = 0; i < 4; i++) words[from + i] = (groups[2 * i] << 16) | groups[2 * i + 1];
  return 6;
}

/** Four numbers up to 255 without leading zeros, and dots between them. Hot: every connection asks several times. */
function parseIpv4(text: string): number | undefined {
  let value = 0;
  let part = -1;
  let parts = 1;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit === -2) {
      if (part < 0 || ++parts > 4) return undefined;
      value = (value << 8) | part;
      part = -1;
    } else {
      if (digit < 0 || digit > 9 || part === 0) return undefined;
      part = part < 0 ? digit : part * 10 + digit;
      if (part > 255) return undefined;
    }
  }
  return part < 0 || parts !== 4 ? undefined : (value << 8) | part;
}

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0], halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1], true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  return [...head, ...Array.from({ length: missing }, () => 0), ...tail];
}

/** Groups between colons; the last one of the address may be dotted IPv4. */
function parseGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else {
      const ipv4 = isLast && index === parts.length - 1 ? parseIpv4(part) : undefined;
      if (ipv4 === undefined) return undefined;
      groups.push(ipv4 >>> 16, ipv4 & 0xffff);
    }
  }
  return groups;
}

/** A network: the first `bits` of four words. */
export interface Prefix {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly bits: number;
}

/** `10.0.0.0/8`, `::1`; `undefined` where it is none. */
export function parsePrefix(text: string): Prefix | undefined {
  const [address, length, ...rest] = text.split("/");
  const words = new Int32Array(4);
  const family = parseAddress(address, words, 0);
  if (family === 0 || rest.length > 0) return undefined;
  const most = family === 4 ? 32 : 128;
  const bits = length === undefined ? most : /^(0|[1-9]\d{0,2})$/.test(length) ? Number(length) : -1;
  return bits < 0 || bits > most ? undefined : { family, words, bits };
}
