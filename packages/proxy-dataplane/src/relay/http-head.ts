import { parseAddress } from "../addresses.ts";
import { MALFORMED, NEED_MORE, type ParsedRequest } from "./request.ts";

/** Longest head of a request that is taken. */
export const HTTP_MAX_HEAD = 16384;

const CR = 13;
const LF = 10;

/** The head of an HTTP request, as a proxy needs it. */
export class HttpHead {
  method = "";
  target = "";
  version = "";
  /** Name as it was sent, value without surrounding blanks. */
  headers: [name: string, value: string][] = [];

  /** The first header of that name (lower case), or undefined. */
  header(name: string): string | undefined {
    return this.headers.find(([each]) => each.toLowerCase() === name)?.[1];
  }
}

/**
 * Where the empty line ends that ends a head.
 *
 * @returns bytes of the head, `NEED_MORE`, or `MALFORMED` where it cannot be one
 */
export function httpHeadLength(bytes: Uint8Array, from: number, to: number): number {
  // A method is letters: refuse anything else at once, before 16 KiB have come.
  if (to > from && !isUpper(bytes[from])) return MALFORMED;
  for (let at = from; at + 1 < to; at++) {
    if (bytes[at] !== LF) continue;
    if (bytes[at + 1] === LF) return at + 2 - from;
    if (bytes[at + 1] === CR && at + 2 < to && bytes[at + 2] === LF) return at + 3 - from;
  }
  return to - from >= HTTP_MAX_HEAD ? MALFORMED : NEED_MORE;
}

function isUpper(byte: number): boolean {
  return byte >= 65 && byte <= 90;
}

/** Read a head of `length` bytes; undefined where it is malformed. */
export function parseHttpHead(bytes: Uint8Array, from: number, length: number): HttpHead | undefined {
  const lines = latin1(bytes, from, from + length).split(/\r?\n/);
  const match = /^([A-Z][A-Z-]{0,31}) (\S+) (HTTP\/1\.[01])$/.exec(lines[0]);
  if (match === null) return undefined;
  const head = new HttpHead();
  [, head.method, head.target, head.version] = match;
  for (const line of lines.slice(1)) {
    if (line === "") break;
    // No folded lines, no blanks before the colon (RFC 9112, 5): servers disagree on what they mean.
    const colon = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/.exec(line);
    if (colon === null || hasControl(colon[2])) return undefined;
    head.headers.push([colon[1], colon[2]]);
  }
  return head;
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((code < 32 && code !== 9) || code === 127) return true;
  }
  return false;
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let at = from; at < to; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, Math.min(at + 4096, to)));
  }
  return text;
}

const words = new Int32Array(4);

/** Read `host:port` or `[address]:port` into a request; false where it is neither. */
export function parseAuthority(text: string, defaultPort: number, into: ParsedRequest): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]@/?#]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return false;
  const host = match[1] ?? match[2];
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port < 1 || port > 65535 || host.length > 255) return false;
  for (let i = 0; i < host.length; i++) if (host.charCodeAt(i) <= 32 || host.charCodeAt(i) >= 127) return false;
  into.host = host;
  into.port = port;
  into.family = parseAddress(host, words, 0);
  return match[1] === undefined || into.family === 6;
}

/** Headers that are for this hop alone (RFC 9110, 7.6.1), beside those that `Connection` names. */
const HOP_BY_HOP = new Set([
  "connection",
  "proxy-connection",
  "keep-alive",
  "proxy-authorization",
  "proxy-authenticate",
  "te",
  "upgrade",
]);

/**
 * The head of a request in absolute form (`GET http://host/path`) as it goes on to the server: origin form, without headers
 * of this hop, one request a connection.
 *
 * @returns undefined where the target is not `http:`
 */
export function forwardHead(head: HttpHead, into: ParsedRequest): string | undefined {
  const match = /^http:\/\/([^/?#]*)([^#]*)$/i.exec(head.target);
  if (match === null) return undefined;
  const authority = match[1];
  if (!parseAuthority(authority, 80, into)) return undefined;
  const upgrade = head.header("upgrade");
  const named = (head.header("connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  const kept = head.headers.filter(([name]) => {
    const lower = name.toLowerCase();
    return lower !== "host" && !HOP_BY_HOP.has(lower) && !named.includes(lower);
  });
  const path = match[2].startsWith("/") ? match[2] : `/${match[2]}`;
  const lines = [`${head.method} ${path} ${head.version}`, `Host: ${authority}`];
  for (const [name, value] of kept) lines.push(`${name}: ${value}`);
  if (upgrade !== undefined && named.includes("upgrade")) lines.push("Connection: upgrade", `Upgrade: ${upgrade}`);
  else lines.push("Connection: close");
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** User and password of `Basic` credentials; undefined where they are none. */
export function basicCredentials(header: string | undefined): { user: string; password: string } | undefined {
  const match = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(header ?? "");
  if (match === null) return undefined;
  let text: string;
  try {
    text = new TextDecoder().decode(Uint8Array.from(atob(match[1]), (char) => char.charCodeAt(0)));
  } catch {
    return undefined;
  }
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** The header value for user and password. */
export function basicHeader(user: string, password: string): string {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** The status of a response's head of `length` bytes; 0 where it is none. */
export function httpStatus(bytes: Uint8Array, from: number, length: number): number {
  const match = /^HTTP\/1\.[01] (\d{3})(?: |\r|\n)/.exec(latin1(bytes, from, Math.min(from + length, from + 32)));
  return match === null ? 0 : Number(match[1]);
}

/** As {@link httpHeadLength}, of a response. */
export function httpResponseLength(bytes: Uint8Array, from: number, to: number): number {
  if (to > from && bytes[from] !== 72) return MALFORMED; // "H"
  return httpHeadLength(bytes, from, to);
}
