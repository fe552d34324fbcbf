import { formatAddress, formatIpv4 } from "../addresses.ts";

/** What a client asks for. */
export const RelayCommand = { Connect: 1, Bind: 2, UdpAssociate: 3 } as const;
/** A value of {@link (RelayCommand:variable)}. */
export type RelayCommand = (typeof RelayCommand)[keyof typeof RelayCommand];

/** A parser has to see more bytes. */
export const NEED_MORE = 0;
/** A parser cannot go on: what it saw is not the protocol. */
export const MALFORMED = -1;

/** What a parser fills in. One object serves many requests. */
export class ParsedRequest {
  command: RelayCommand = RelayCommand.Connect;
  /** A name, or an address in text. */
  host = "";
  /** 0: `host` is a name. */
  family: 0 | 4 | 6 = 0;
  port = 0;
  user = "";
  password = "";
}

const words = new Int32Array(4);

export function ipv4At(bytes: Uint8Array, at: number): string {
  return formatIpv4((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]);
}

export function ipv6At(bytes: Uint8Array, at: number): string {
  for (let i = 0; i < 4; i++) {
    const from = at + 4 * i;
    words[i] = (bytes[from] << 24) | (bytes[from + 1] << 16) | (bytes[from + 2] << 8) | bytes[from + 3];
  }
  // Mapped IPv4 is IPv4, or a rule for a network could be walked around.
  if (words[0] === 0 && words[1] === 0 && words[2] === 0xffff) return formatIpv4(words[3]);
  return formatAddress(words, 0, true);
}

export function portAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

/** Text of visible ASCII; "" if there is anything else in it, or nothing. */
export function asciiAt(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let at = from; at < to; at++) {
    const code = bytes[at];
    if (code <= 32 || code >= 127) return "";
    text += String.fromCharCode(code);
  }
  return text;
}
