import { parseAddress } from "../addresses.ts";
import { asciiAt, ipv4At, ipv6At, MALFORMED, NEED_MORE, portAt, RelayCommand, type ParsedRequest } from "./request.ts";

export const SOCKS5_VERSION = 5;
export const SOCKS5_NO_AUTHENTICATION = 0;
export const SOCKS5_PASSWORD = 2;
export const SOCKS5_NO_METHOD = 255;
/** Longest message of the protocol: a request with a name of 255 bytes, or user and password of 255 each. */
export const SOCKS5_MAX_MESSAGE = 513;

const IPV4 = 1;
const NAME = 3;
const IPV6 = 4;
const PASSWORD_VERSION = 1;

/**
 * Read what methods a client offers (RFC 1928, 3): `05 n method…`.
 *
 * @returns bytes of the greeting, `NEED_MORE`, or `MALFORMED`; {@link socks5Offers} looks into it
 */
export function parseSocks5Greeting(bytes: Uint8Array, from: number, to: number): number {
  if (bytes[from] !== SOCKS5_VERSION) return MALFORMED;
  if (to - from < 2) return NEED_MORE;
  const length = 2 + bytes[from + 1];
  return to - from < length ? NEED_MORE : length;
}

/** Whether a greeting at `from` offers a method. */
export function socks5Offers(bytes: Uint8Array, from: number, method: number): boolean {
  const end = from + 2 + bytes[from + 1];
  for (let at = from + 2; at < end; at++) if (bytes[at] === method) return true;
  return false;
}

/** Read user and password (RFC 1929): `01 n user n password`. Text is taken as UTF-8. */
export function parseSocks5Password(bytes: Uint8Array, from: number, to: number, into: ParsedRequest): number {
  if (bytes[from] !== PASSWORD_VERSION) return MALFORMED;
  if (to - from < 3) return NEED_MORE;
  const passwordAt = from + 2 + bytes[from + 1];
  if (to <= passwordAt) return NEED_MORE;
  const end = passwordAt + 1 + bytes[passwordAt];
  if (to < end) return NEED_MORE;
  into.user = utf8.decode(bytes.subarray(from + 2, passwordAt));
  into.password = utf8.decode(bytes.subarray(passwordAt + 1, end));
  return end - from;
}

const utf8 = new TextDecoder();

/**
 * Read a request (RFC 1928, 4): `05 cmd 00 atyp address port`. An unknown command is left in `into.command`.
 *
 * @returns bytes of the request, `NEED_MORE`, or `MALFORMED`
 */
export function parseSocks5Request(bytes: Uint8Array, from: number, to: number, into: ParsedRequest): number {
  if (to - from >= 1 && bytes[from] !== SOCKS5_VERSION) return MALFORMED;
  if (to - from < 3) return NEED_MORE;
  const length = parseSocks5Address(bytes, from + 3, to, into);
  if (length <= 0) return length;
  into.command = bytes[from + 1] as RelayCommand;
  return 3 + length;
}

/** Read `atyp address port`, as requests, replies and datagrams have it. */
export function parseSocks5Address(bytes: Uint8Array, from: number, to: number, into: ParsedRequest): number {
  if (to - from < 2) return NEED_MORE;
  const type = bytes[from];
  const size = type === IPV4 ? 4 : type === IPV6 ? 16 : type === NAME ? 1 + bytes[from + 1] : MALFORMED;
  if (size === MALFORMED) return MALFORMED;
  const length = 1 + size + 2;
  if (to - from < length) return NEED_MORE;
  into.port = portAt(bytes, from + 1 + size);
  into.family = type === IPV4 ? 4 : type === IPV6 ? 6 : 0;
  if (type === IPV4) into.host = ipv4At(bytes, from + 1);
  else if (type === IPV6) into.host = ipv6At(bytes, from + 1);
  else readName(bytes, from + 2, from + 1 + size, into);
  if (into.family === 6 && !into.host.includes(":")) into.family = 4;
  return into.host === "" ? MALFORMED : length;
}

const words = new Int32Array(4);

/** Clients also send addresses as names. */
function readName(bytes: Uint8Array, from: number, to: number, into: ParsedRequest): void {
  into.host = asciiAt(bytes, from, to);
  into.family = parseAddress(into.host, words, 0);
}

/** Write `atyp address port` for an address or a name; returns the position after it. */
export function writeSocks5Address(into: Uint8Array, at: number, host: string, port: number): number {
  const family = parseAddress(host, words, 0);
  let end = at + 1;
  if (family === 0) {
    into[at] = NAME;
    into[end++] = host.length;
    for (let i = 0; i < host.length; i++) into[end++] = host.charCodeAt(i);
  } else {
    into[at] = family === 4 ? IPV4 : IPV6;
    for (let i = 0; i < (family === 4 ? 4 : 16); i++) into[end++] = (words[i >> 2] >>> (24 - 8 * (i & 3))) & 255;
  }
  into[end++] = port >>> 8;
  into[end++] = port & 255;
  return end;
}

/** Write a reply: `05 code 00 atyp address port`. Returns its length. */
export function writeSocks5Reply(into: Uint8Array, code: number, host: string, port: number): number {
  into[0] = SOCKS5_VERSION;
  into[1] = code;
  into[2] = 0;
  return writeSocks5Address(into, 3, host, port);
}

/** Write a request. Returns its length. */
export function writeSocks5Request(into: Uint8Array, command: RelayCommand, host: string, port: number): number {
  into[0] = SOCKS5_VERSION;
  into[1] = command;
  into[2] = 0;
  return writeSocks5Address(into, 3, host, port);
}

/** Write user and password. Returns the length, 0 where one of them does not fit. */
export function writeSocks5Password(into: Uint8Array, user: string, password: string): number {
  const name = encoder.encode(user);
  const secret = encoder.encode(password);
  if (name.length > 255 || secret.length > 255) return 0;
  into[0] = PASSWORD_VERSION;
  into[1] = name.length;
  into.set(name, 2);
  into[2 + name.length] = secret.length;
  into.set(secret, 3 + name.length);
  return 3 + name.length + secret.length;
}

const encoder = new TextEncoder();
