import { crc32c } from "@x/perf-cache";
import { parseAddress } from "../addresses.ts";
import type { Endpoint } from "./engine.ts";
import type { InputBuffer } from "./input-buffer.ts";
import { ipv4At, ipv6At, MALFORMED, NEED_MORE, portAt } from "./request.ts";

/** Longest header of version 1 with its line end (specification 2.1). */
const MAX_V1 = 107;
/** Longest header of version 2 that is taken: addresses and some kilobytes of attributes. */
export const PROXY_MAX_HEADER: number = 16 + 4096;

const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const V1_START = Uint8Array.of(0x50, 0x52, 0x4f, 0x58, 0x59, 0x20); // "PROXY "

/**
 * Types of attributes in a header of version 2.
 *
 * @public
 */
export const ProxyTlv = {
  Alpn: 0x01,
  Authority: 0x02,
  Crc32c: 0x03,
  Noop: 0x04,
  UniqueId: 0x05,
  Ssl: 0x20,
  NetworkNamespace: 0x30,
} as const;

/**
 * What a header of the PROXY protocol says.
 *
 * @public
 */
export class ProxyHeader {
  version: 1 | 2 = 1;
  /** `LOCAL`, or `UNKNOWN` in version 1: the connection is the proxy's own, as for a health check; there are no ends. */
  isLocal = false;
  source: Endpoint | undefined = undefined;
  destination: Endpoint | undefined = undefined;
  /** Attributes of version 2, in their order. */
  tlvs: { readonly type: number; readonly value: Uint8Array }[] = [];
}

/**
 * Read a header of the PROXY protocol, version 1 or 2 (haproxy.org, proxy-protocol.txt).
 *
 * @returns bytes of the header; 0, more bytes are needed; -1, it is malformed: the connection must be dropped
 *
 * @public
 */
export function parseProxyHeader(bytes: Uint8Array, from: number, to: number, into: ProxyHeader): number {
  into.source = into.destination = undefined;
  into.isLocal = false;
  into.tlvs = [];
  if (startsWith(bytes, from, to, V1_START)) return parseV1(bytes, from, to, into);
  if (startsWith(bytes, from, to, SIGNATURE)) return parseV2(bytes, from, to, into);
  return MALFORMED;
}

/** Whether what is there agrees, as far as it goes. */
function startsWith(bytes: Uint8Array, from: number, to: number, start: Uint8Array): boolean {
  const count = Math.min(to - from, start.length);
  for (let i = 0; i < count; i++) if (bytes[from + i] !== start[i]) return false;
  return true;
}

const words = new Int32Array(4);

function parseV1(bytes: Uint8Array, from: number, to: number, into: ProxyHeader): number {
  const end = lineEnd(bytes, from, Math.min(to, from + MAX_V1));
  if (end < 0) return to - from >= MAX_V1 ? MALFORMED : NEED_MORE;
  const line = String.fromCharCode(...bytes.subarray(from, end));
  into.version = 1;
  if (/^PROXY UNKNOWN(?: |$)/.test(line)) {
    into.isLocal = true;
    return end + 2 - from;
  }
  const match = /^PROXY TCP([46]) (\S+) (\S+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})$/.exec(line);
  if (match === null) return MALFORMED;
  const family = Number(match[1]) as 4 | 6;
  const [source, destination] = [endpoint(family, match[2], match[4]), endpoint(family, match[3], match[5])];
  if (source === undefined || destination === undefined) return MALFORMED;
  into.source = source;
  into.destination = destination;
  return end + 2 - from;
}

function endpoint(family: 4 | 6, host: string, port: string): Endpoint | undefined {
  if (parseAddress(host, words, 0) !== family || Number(port) > 65535) return undefined;
  return { family, host, port: Number(port) };
}

function lineEnd(bytes: Uint8Array, from: number, to: number): number {
  for (let at = from; at + 1 < to; at++) if (bytes[at] === 13 && bytes[at + 1] === 10) return at;
  return -1;
}

/**
 *     ┌───────────────┬────────┬──────────┬────────┬───────────────┬────────┐
 *     │ signature, 12 │ 2 | cmd│ af | prot│ length │ two addresses │ TLVs … │
 *     └───────────────┴────────┴──────────┴────────┴───────────────┴────────┘
 */
function parseV2(bytes: Uint8Array, from: number, to: number, into: ProxyHeader): number {
  if (to - from < 16) return NEED_MORE;
  const command = bytes[from + 12];
  if (command !== 0x20 && command !== 0x21) return MALFORMED;
  const length = 16 + portAt(bytes, from + 14);
  if (length > PROXY_MAX_HEADER) return MALFORMED;
  if (to - from < length) return NEED_MORE;
  into.version = 2;
  into.isLocal = command === 0x20;
  const family = bytes[from + 13];
  const addresses = ADDRESS_BYTES.get(family >>> 4) ?? MALFORMED;
  if (addresses === MALFORMED || (family & 15) > 2 || length < 16 + (into.isLocal ? 0 : addresses)) return MALFORMED;
  if (!into.isLocal) readEnds(bytes, from + 16, family, into);
  const tlvs = from + 16 + Math.min(addresses, length - 16);
  return readTlvs(bytes, tlvs, from + length, into) && crcHolds(bytes, from, length) ? length : MALFORMED;
}

/** Bytes of both addresses by family: unspecified, IPv4, IPv6, Unix. */
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [0, 0],
  [1, 12],
  [2, 36],
  [3, 216],
]);

function readEnds(bytes: Uint8Array, at: number, family: number, into: ProxyHeader): void {
  if (family >>> 4 === 1) {
    into.source = { family: 4, host: ipv4At(bytes, at), port: portAt(bytes, at + 8) };
    into.destination = { family: 4, host: ipv4At(bytes, at + 4), port: portAt(bytes, at + 10) };
  } else if (family >>> 4 === 2) {
    into.source = ipv6Endpoint(bytes, at, at + 32);
    into.destination = ipv6Endpoint(bytes, at + 16, at + 34);
  } else if (family >>> 4 === 3) {
    into.source = { family: 0, host: path(bytes, at), port: 0 };
    into.destination = { family: 0, host: path(bytes, at + 108), port: 0 };
  }
}

function ipv6Endpoint(bytes: Uint8Array, at: number, port: number): Endpoint {
  const host = ipv6At(bytes, at);
  return { family: host.includes(":") ? 6 : 4, host, port: portAt(bytes, port) };
}

function path(bytes: Uint8Array, at: number): string {
  const end = bytes.subarray(at, at + 108).indexOf(0);
  return new TextDecoder().decode(bytes.subarray(at, at + (end < 0 ? 108 : end)));
}

function readTlvs(bytes: Uint8Array, from: number, to: number, into: ProxyHeader): boolean {
  for (let at = from; at < to;) {
    if (to - at < 3) return false;
    const length = portAt(bytes, at + 1);
    if (at + 3 + length > to) return false;
    into.tlvs.push({ type: bytes[at], value: bytes.slice(at + 3, at + 3 + length) });
    if (bytes[at] === ProxyTlv.Crc32c && length !== 4) return false;
    at += 3 + length;
  }
  return true;
}

/** The checksum, where there is one, is over the whole header with itself as zero. */
function crcHolds(bytes: Uint8Array, from: number, length: number): boolean {
  const header = bytes.slice(from, from + length);
  const addresses = ADDRESS_BYTES.get(header[13] >>> 4) ?? 0;
  for (let at = 16 + Math.min(addresses, length - 16); at + 3 <= length; at += 3 + portAt(header, at + 1)) {
    if (header[at] !== ProxyTlv.Crc32c) continue;
    const given = wordAt(header, at + 3);
    header.fill(0, at + 3, at + 7);
    return ~crc32c(header, -1) === given;
  }
  return true;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}

/** Take a header from the start of what a client has sent. */
export function takeProxyHeader(input: InputBuffer): ProxyHeader | "more" | "malformed" {
  const header = new ProxyHeader();
  const length = parseProxyHeader(input.bytes, input.from, input.to, header);
  if (length <= 0) return length === NEED_MORE ? "more" : "malformed";
  input.consume(length);
  return header;
}
