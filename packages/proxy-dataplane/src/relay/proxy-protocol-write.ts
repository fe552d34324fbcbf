import { crc32c } from "@x/perf-cache";
import { parseAddress } from "../addresses.ts";
import type { Endpoint } from "./engine.ts";
import { ProxyTlv } from "./proxy-protocol.ts";

/**
 * What is written into a header of the PROXY protocol.
 *
 * @public
 */
export interface ProxyHeaderFields {
  readonly version: 1 | 2;
  /** Who connected to the proxy, and where to; undefined: unknown. */
  readonly source: Endpoint | undefined;
  readonly destination: Endpoint | undefined;
  /** Version 2: the name that the client asked for. */
  readonly authority?: string | undefined;
  /** Version 2: an id of the connection. */
  readonly uniqueId?: string | undefined;
  /** Version 2: a checksum over the header. */
  readonly crc?: boolean | undefined;
}

/**
 * A header of the PROXY protocol. Ends of different families, and Unix sockets, are sent as unknown.
 *
 * @public
 */
export function proxyHeader(fields: ProxyHeaderFields): Uint8Array {
  return fields.version === 1 ? version1(fields) : version2(fields);
}

const encoder = new TextEncoder();
const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

function version1({ source, destination }: ProxyHeaderFields): Uint8Array {
  if (source === undefined || destination === undefined || source.family === 0) return encoder.encode(UNKNOWN);
  if (source.family !== destination.family) return encoder.encode(UNKNOWN);
  const ends = `${source.host} ${destination.host} ${source.port} ${destination.port}`;
  return encoder.encode(`PROXY TCP${source.family} ${ends}\r\n`);
}

const UNKNOWN = "PROXY UNKNOWN\r\n";

function version2(fields: ProxyHeaderFields): Uint8Array {
  const { source, destination } = fields;
  const known = source !== undefined && destination !== undefined && source.family === destination.family;
  const family = known ? source.family : 0;
  const out: number[] = [...SIGNATURE, 0x21, family === 4 ? 0x11 : family === 6 ? 0x21 : 0, 0, 0];
  if (known && family !== 0) {
    pushAddress(out, source.host, family);
    pushAddress(out, destination.host, family);
    out.push(source.port >>> 8, source.port & 255, destination.port >>> 8, destination.port & 255);
  }
  if (fields.authority !== undefined) pushTlv(out, ProxyTlv.Authority, encoder.encode(fields.authority));
  if (fields.uniqueId !== undefined) pushTlv(out, ProxyTlv.UniqueId, encoder.encode(fields.uniqueId).subarray(0, 128));
  if (fields.crc === true) pushTlv(out, ProxyTlv.Crc32c, new Uint8Array(4));
  out[14] = (out.length - 16) >>> 8;
  out[15] = (out.length - 16) & 255;
  const header = Uint8Array.from(out);
  if (fields.crc === true) putWord(header, header.length - 4, ~crc32c(header, -1));
  return header;
}

const words = new Int32Array(4);

function pushAddress(out: number[], host: string, family: number): void {
  parseAddress(host, words, 0);
  for (let i = 0; i < (family === 4 ? 4 : 16); i++) out.push((words[i >> 2] >>> (24 - 8 * (i & 3))) & 255);
}

function pushTlv(out: number[], type: number, value: Uint8Array): void {
  out.push(type, value.length >>> 8, value.length & 255, ...value);
}

function putWord(bytes: Uint8Array, at: number, word: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = (word >>> (24 - 8 * i)) & 255;
}

/** The header for a connection, by the name of its version in a configuration. */
export function headerFor(version: "v1" | "v2", source: Endpoint, destination: Endpoint): Uint8Array {
  return proxyHeader({ version: version === "v1" ? 1 : 2, source, destination });
}
