import { parseAddress } from "../addresses.ts";
import type { Endpoint } from "./engine.ts";
import { parseAuthority } from "./http-head.ts";
import { ParsedRequest } from "./request.ts";

const parsed = new ParsedRequest();

/** Where to listen, from text; undefined where it says nothing of the kind. A port alone is on the loopback address. */
export function listenEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith("unix:")) return text.length > 5 ? { family: 0, host: text.slice(5), port: 0 } : undefined;
  if (/^\d{1,5}$/.test(text)) {
    return Number(text) <= 65535 ? { family: 4, host: "127.0.0.1", port: Number(text) } : undefined;
  }
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65535) return undefined;
  const host = match[1] ?? match[2];
  const family = parseAddress(host, words, 0);
  if (family === 0 || (family === 6) !== (match[1] !== undefined)) return undefined;
  return { family, host, port: Number(match[3]) };
}

const words = new Int32Array(4);

/** A target from text: `host:port`, where the host may be a name (then `family` is 0), or `unix:/path`. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly family: 0 | 4 | 6;
  readonly isPath: boolean;
}

export function targetOf(text: string): Target | undefined {
  if (text.startsWith("unix:"))
    return text.length > 5 ? { host: text.slice(5), port: 0, family: 0, isPath: true } : undefined;
  if (!parseAuthority(text, 0, parsed)) return undefined;
  return { host: parsed.host, port: parsed.port, family: parsed.family, isPath: false };
}
