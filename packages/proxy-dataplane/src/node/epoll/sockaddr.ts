import { networkInterfaces } from "node:os";
import { formatIpv4, parseAddress } from "../../addresses.ts";
import type { Endpoint } from "../../relay/engine.ts";
import { ipv6At, portAt } from "../../relay/request.ts";
import { AF_INET, AF_INET6, AF_UNIX } from "./libc.ts";

/** Room for the longest `struct sockaddr` here, `sockaddr_un`. */
export const SOCKADDR_BYTES = 112;

/** Address families of the kernel, by those of endpoints. */
export const FAMILIES: Readonly<Record<0 | 4 | 6, number>> = { 0: AF_UNIX, 4: AF_INET, 6: AF_INET6 };

const IPV4_BYTES = 16;
const IPV6_BYTES = 28;
const UNIX_PATH_MOST = 107;
/** IPv4 addresses that are remembered, with their texts: clients and servers come again. */
const REMEMBERED = 4096;

const words = new Int32Array(4);
const texts = new Map<number, string>();
const addresses = new Map<string, number>();
const encoder = new TextEncoder();

/**
 * Write an endpoint as the kernel wants it: the family in the host's order, port and address in the network's.
 *
 * @returns its length; 0 where the endpoint is none (a path too long, a name for an address)
 */
export function writeSockaddr(bytes: Uint8Array, at: number, { family, host, port }: Endpoint): number {
  if (family === 0) return writePath(bytes, at, host);
  bytes[at] = family === 4 ? AF_INET : AF_INET6;
  bytes[at + 1] = 0;
  bytes[at + 2] = port >>> 8;
  bytes[at + 3] = port & 255;
  return family === 4 ? writeIpv4(bytes, at, host) : writeIpv6(bytes, at, host);
}

function writeIpv4(bytes: Uint8Array, at: number, host: string): number {
  let address = addresses.get(host);
  if (address === undefined) {
    if (parseAddress(host, words, 0) !== 4) return 0;
    if (addresses.size >= REMEMBERED) addresses.clear();
    addresses.set(host, (address = words[0]));
  }
  putWord(bytes, at + 4, address);
  putWord(bytes, at + 8, 0);
  putWord(bytes, at + 12, 0);
  return IPV4_BYTES;
}

function writeIpv6(bytes: Uint8Array, at: number, host: string): number {
  const zone = host.indexOf("%");
  if (parseAddress(zone < 0 ? host : host.slice(0, zone), words, 0) !== 6) return 0;
  putWord(bytes, at + 4, 0);
  for (let i = 0; i < 4; i++) putWord(bytes, at + 8 + 4 * i, words[i]);
  const scope = zone < 0 ? 0 : scopeOf(host.slice(zone + 1));
  for (let i = 0; i < 4; i++) bytes[at + 24 + i] = scope >>> (8 * i);
  return IPV6_BYTES;
}

/** The endpoint that the kernel wrote; IPv4 mapped into IPv6 is IPv4. */
export function readSockaddr(bytes: Uint8Array, at: number, length: number): Endpoint {
  const family = bytes[at];
  if (length >= IPV4_BYTES && family === AF_INET) {
    const address = (bytes[at + 4] << 24) | (bytes[at + 5] << 16) | (bytes[at + 6] << 8) | bytes[at + 7];
    return { family: 4, host: ipv4Text(address), port: portAt(bytes, at + 2) };
  }
  if (length >= IPV6_BYTES && family === AF_INET6) {
    const host = ipv6At(bytes, at + 8);
    return { family: host.includes(":") ? 6 : 4, host, port: portAt(bytes, at + 2) };
  }
  return { family: 0, host: readPath(bytes, at, length), port: 0 };
}

function ipv4Text(address: number): string {
  let text = texts.get(address);
  if (text === undefined) {
    if (texts.size >= REMEMBERED) texts.clear();
    texts.set(address, (text = formatIpv4(address)));
  }
  return text;
}

function writePath(bytes: Uint8Array, at: number, path: string): number {
  const text = encoder.encode(path);
  if (text.length > UNIX_PATH_MOST) return 0;
  bytes[at] = AF_UNIX;
  bytes[at + 1] = 0;
  bytes.set(text, at + 2);
  bytes[at + 2 + text.length] = 0;
  return 2 + text.length + 1;
}

function readPath(bytes: Uint8Array, at: number, length: number): string {
  const end = bytes.indexOf(0, at + 2);
  const to = Math.min(end < 0 ? bytes.length : end, at + length);
  return to <= at + 2 ? "" : new TextDecoder().decode(bytes.subarray(at + 2, to));
}

function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}

/** The zone of a link-local address: the number of an interface, or its name. */
function scopeOf(zone: string): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  return networkInterfaces()[zone]?.find((each) => each.family === "IPv6")?.scopeid ?? 0;
}
