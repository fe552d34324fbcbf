import { formatAddress } from "./addresses.ts";
import * as layout from "./connection-layout.ts";
import type { Connections } from "./connections.ts";
import type { ConnectionInfo, TupleEnds } from "./dataplane-options.ts";
import { KEY_IPV6 } from "./packet-info.ts";

function ends(words: Int32Array, at: number): TupleEnds {
  const isIpv6 = (words[at + 9] & KEY_IPV6) !== 0;
  return {
    source: formatAddress(words, at, isIpv6),
    sourcePort: words[at + 8] >>> 16,
    destination: formatAddress(words, at + 4, isIpv6),
    destinationPort: words[at + 8] & 0xffff,
  };
}

/** Whether the near ends of the original and reply tuple differ, or the far ends. */
function differ(words: Int32Array, original: number, reply: number, near: boolean): boolean {
  const [from, to] = near ? [original, reply + 4] : [original + 4, reply];
  for (let i = 0; i < 4; i++) if (words[from + i] !== words[to + i]) return true;
  const ports = words[original + 8] ^ ((words[reply + 8] << 16) | (words[reply + 8] >>> 16));
  return (near ? ports >>> 16 : ports & 0xffff) !== 0;
}

/** A copy of what is known of a connection. The calling CPU must be a reader. */
export function describeConnection(connections: Connections, offset: number, nowMs: number): ConnectionInfo {
  const { words } = connections;
  const w = offset >> 2;
  const { doubles } = connections;
  const count = (direction: number, double: number, foreign: number): number =>
    doubles[((w + direction * layout.LINE_WORDS) >> 1) + double] +
    layout.readCount(words, w + layout.FOREIGN + direction * layout.FOREIGN_STRIDE + foreign);
  return {
    id: offset,
    protocol: words[w + layout.ORIGINAL + 9] & 0xff,
    isIpv6: (words[w + layout.ORIGINAL + 9] & KEY_IPV6) !== 0,
    state: connections.state(offset),
    original: ends(words, w + layout.ORIGINAL),
    reply: ends(words, w + layout.REPLY),
    sourceTranslated: differ(words, w + layout.ORIGINAL, w + layout.REPLY, true),
    destinationTranslated: differ(words, w + layout.ORIGINAL, w + layout.REPLY, false),
    server: words[w + layout.SERVER] - 1,
    packetsSent: count(0, layout.PACKETS_DOUBLE, 0),
    bytesSent: count(0, layout.BYTES_DOUBLE, 2),
    packetsReceived: count(1, layout.PACKETS_DOUBLE, 0),
    bytesReceived: count(1, layout.BYTES_DOUBLE, 2),
    ageMs: (nowMs - words[w + layout.CREATED_MS]) | 0,
    remainingMs: connections.remainingMs(offset, nowMs),
  };
}
