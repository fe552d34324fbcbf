import { ParseResult, type PacketInfo } from "./packet-info.ts";
import { parseCommon } from "./parse-common.ts";
import { parseLink } from "./parse-link.ts";
import { parseNetwork } from "./parse-network.ts";
import { parseTransport } from "./parse-transport.ts";
import { LinkType } from "./protocols.ts";

/**
 * Walks the headers of one packet: link (Ethernet with any number of VLAN tags, raw IP, BSD loopback, Linux cooked),
 * IPv4 or IPv6 with extension headers, TCP, UDP, ICMP. Tunnels are not opened.
 *
 * @param bytes - holds the packet
 * @param start - where it begins
 * @param length - bytes that are there
 * @param wireLength - bytes it had on the wire; more than `length` when it was captured in part
 * @param linkType - a number of {@link LinkType}; another one leaves `out.network` at `Other`
 * @param out - is filled
 * @returns the first thing wrong, also in `out.result`. Parsing goes on as far as the headers are usable.
 *
 * Thread-safety: pure. Cost: no allocation; reads nothing outside `[start, start + length)`.
 *
 * @public
 */
export function parseFrame(
  bytes: Uint8Array,
  start: number,
  length: number,
  wireLength: number,
  linkType: number,
  out: PacketInfo,
): ParseResult {
  out.clear();
  if (linkType === LinkType.Ethernet && parseCommon(bytes, start, length, wireLength, out)) return ParseResult.Ok;
  return walkFrame(bytes, start, length, wireLength, linkType, out);
}

/** The general walk, for a cleared `out`. */
export function walkFrame(
  bytes: Uint8Array,
  start: number,
  length: number,
  wireLength: number,
  linkType: number,
  out: PacketInfo,
): ParseResult {
  const end = start + length;
  parseLink(bytes, start, end, linkType, out);
  if (out.networkOffset >= 0 && parseNetwork(bytes, end, start + Math.max(length, wireLength), out)) {
    parseTransport(bytes, out);
  }
  return out.result;
}
