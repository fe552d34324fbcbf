import { asciiAt, ipv4At, MALFORMED, NEED_MORE, portAt, RelayCommand, type ParsedRequest } from "./request.ts";

/** User ids and names of SOCKS4 are ended by NUL, not counted: this bounds them. */
const MAX_TEXT = 255;

export const SOCKS4_VERSION = 4;
export const SOCKS4_GRANTED = 90;
export const SOCKS4_REJECTED = 91;

/**
 * Read a request of SOCKS4 or 4a:
 *
 *     ┌───┬───┬──────┬─────────┬──────────┬───┬ 4a: 0.0.0.x ─┬───┐
 *     │ 4 │cmd│ port │ address │ user id  │ 0 │ host name    │ 0 │
 *     └───┴───┴──────┴─────────┴──────────┴───┴──────────────┴───┘
 *
 * @returns bytes of the request, `NEED_MORE`, or `MALFORMED`
 */
export function parseSocks4Request(bytes: Uint8Array, from: number, to: number, into: ParsedRequest): number {
  if (to - from < 9) return NEED_MORE;
  const command = bytes[from + 1];
  if (bytes[from] !== SOCKS4_VERSION || (command !== 1 && command !== 2)) return MALFORMED;
  const userEnd = endOfText(bytes, from + 8, to);
  if (userEnd < 0) return userEnd === MALFORMED ? MALFORMED : NEED_MORE;
  into.command = command === 1 ? RelayCommand.Connect : RelayCommand.Bind;
  into.port = portAt(bytes, from + 2);
  into.user = asciiAt(bytes, from + 8, userEnd);
  into.password = "";
  const isName = bytes[from + 4] === 0 && bytes[from + 5] === 0 && bytes[from + 6] === 0 && bytes[from + 7] !== 0;
  if (!isName) {
    into.host = ipv4At(bytes, from + 4);
    into.family = 4;
    return userEnd + 1 - from;
  }
  const nameEnd = endOfText(bytes, userEnd + 1, to);
  if (nameEnd < 0) return nameEnd === MALFORMED ? MALFORMED : NEED_MORE;
  into.host = asciiAt(bytes, userEnd + 1, nameEnd);
  into.family = 0;
  return into.host === "" ? MALFORMED : nameEnd + 1 - from;
}

const INCOMPLETE = -2;

function endOfText(bytes: Uint8Array, from: number, to: number): number {
  const limit = Math.min(to, from + MAX_TEXT + 1);
  for (let at = from; at < limit; at++) if (bytes[at] === 0) return at;
  return limit - from > MAX_TEXT ? MALFORMED : INCOMPLETE;
}

/** Write a reply (8 bytes); `ipv4` is the address as a word. */
export function writeSocks4Reply(into: Uint8Array, code: number, ipv4: number, port: number): number {
  into[0] = 0;
  into[1] = code;
  into[2] = port >>> 8;
  into[3] = port & 255;
  for (let i = 0; i < 4; i++) into[4 + i] = (ipv4 >>> (24 - 8 * i)) & 255;
  return 8;
}

/** Write a request as a client: `ipv4` where the target is an address, else its name (4a). Returns its length. */
export function writeSocks4Request(
  into: Uint8Array,
  target: { readonly host: string; readonly port: number; readonly ipv4: number | undefined },
  user: string,
): number {
  into[0] = SOCKS4_VERSION;
  into[1] = 1;
  into[2] = target.port >>> 8;
  into[3] = target.port & 255;
  const address = target.ipv4 ?? 1;
  for (let i = 0; i < 4; i++) into[4 + i] = (address >>> (24 - 8 * i)) & 255;
  let at = writeText(into, 8, user);
  into[at++] = 0;
  if (target.ipv4 === undefined) {
    at = writeText(into, at, target.host);
    into[at++] = 0;
  }
  return at;
}

function writeText(into: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) into[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** Read a reply: its code in `code`. Returns 8, `NEED_MORE` or `MALFORMED`. */
export function parseSocks4Reply(bytes: Uint8Array, from: number, to: number): number {
  if (to > from && bytes[from] !== 0) return MALFORMED;
  return to - from < 8 ? NEED_MORE : 8;
}
