import { fold, internetChecksum, sumWords } from "./checksum.ts";

export const IPV4_BYTES = 20;
export const IPV6_BYTES = 40;
const TTL = 64;
const DONT_FRAGMENT = 0x4000;

export function putHalf(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function putWord(bytes: Uint8Array, at: number, value: number): void {
  putHalf(bytes, at, value >>> 16);
  putHalf(bytes, at + 2, value & 0xffff);
}

/**
 * Writes an IPv4 header without options at `at`, from the address at `words[source ..]` to that at `words[destination ..]`; it is
 * atomic (RFC 6864): not to be fragmented, identification 0.
 */
export function putIpv4(
  bytes: Uint8Array,
  at: number,
  protocol: number,
  serviceType: number,
  payload: number,
  words: Int32Array,
  source: number,
  destination: number,
): void {
  bytes[at] = 0x45;
  bytes[at + 1] = serviceType;
  putHalf(bytes, at + 2, IPV4_BYTES + payload);
  putHalf(bytes, at + 4, 0);
  putHalf(bytes, at + 6, DONT_FRAGMENT);
  bytes[at + 8] = TTL;
  bytes[at + 9] = protocol;
  putHalf(bytes, at + 10, 0);
  putWord(bytes, at + 12, words[source]);
  putWord(bytes, at + 16, words[destination]);
  putHalf(bytes, at + 10, internetChecksum(bytes, at, at + IPV4_BYTES));
}

/** The same for IPv6. */
export function putIpv6(
  bytes: Uint8Array,
  at: number,
  protocol: number,
  payload: number,
  words: Int32Array,
  source: number,
  destination: number,
): void {
  putWord(bytes, at, 0x6000_0000);
  putHalf(bytes, at + 4, payload);
  bytes[at + 6] = protocol;
  bytes[at + 7] = TTL;
  for (let i = 0; i < 4; i++) {
    putWord(bytes, at + 8 + i * 4, words[source + i]);
    putWord(bytes, at + 24 + i * 4, words[destination + i]);
  }
}

/** The sum of a pseudo-header: addresses of the IP header at `network`, length and protocol. */
export function pseudoSum(
  bytes: Uint8Array,
  network: number,
  isIpv6: boolean,
  protocol: number,
  length: number,
): number {
  const [from, to] = isIpv6 ? [network + 8, network + 40] : [network + 12, network + 20];
  return fold(sumWords(bytes, from, to, protocol + (length >>> 16) + (length & 0xffff)));
}
