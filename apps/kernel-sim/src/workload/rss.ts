import { FLOW_KEY_IPV6 } from "@x/perf-cache";
import { NetworkKind, type PacketInfo } from "@x/proxy-dataplane";

/** Bytes of the longest RSS input: two IPv6 addresses and two ports. */
export const MAX_RSS_BYTES = 36;

/**
 * Lay out what RSS hashes: source address, destination address, and for whole TCP and UDP packets the ports, in network
 * order (Microsoft, "RSS hashing types"). Returns the bytes written; 0 for packets that are not IP.
 */
export function rssInput(info: PacketInfo, out: Uint8Array): number {
  if (info.network !== NetworkKind.Ipv4 && info.network !== NetworkKind.Ipv6) return 0;
  const ports = info.hasPorts === 1 && info.fragment === 0 && (info.protocol === 6 || info.protocol === 17);
  return tupleInput(info.key, 0, ports, out);
}

/** {@link rssInput} of a flow key. */
export function tupleInput(key: Int32Array, at: number, ports: boolean, out: Uint8Array): number {
  const words = (key[at + 9] & FLOW_KEY_IPV6) !== 0 ? 4 : 1;
  let length = 0;
  for (const side of [at, at + 4]) {
    for (let word = side; word < side + words; word++) length = putWord(out, length, key[word]);
  }
  return ports ? putWord(out, length, key[at + 8]) : length;
}

function putWord(out: Uint8Array, at: number, word: number): number {
  out[at] = word >>> 24;
  out[at + 1] = word >>> 16;
  out[at + 2] = word >>> 8;
  out[at + 3] = word;
  return at + 4;
}
