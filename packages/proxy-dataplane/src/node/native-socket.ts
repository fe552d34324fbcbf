import { createRequire } from "node:module";
import { getSystemErrorName } from "node:util";
import type * as Koffi from "koffi";
import type { Endpoint } from "../relay/engine.ts";
import { ipv4At, ipv6At, portAt } from "../relay/request.ts";

/*
 * Options of sockets that Node.js does not offer, through koffi where that is installed. Numbers: linux/in.h, linux/in6.h,
 * linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h.
 */
const SOL_IP = 0;
const SOL_IPV6 = 41;
const IP_TRANSPARENT = 19;
const IPV6_TRANSPARENT = 75;
/** Of either level. */
const SO_ORIGINAL_DST = 80;
const SOCKADDR_BYTES = 28;
const AF_INET = 2;
const AF_INET6 = 10;

/** Options of sockets, by descriptor. */
export interface NativeSockets {
  /** Where a connection went before the packet filter redirected it; undefined where it did not. */
  originalDestination(fd: number, family: 4 | 6): Endpoint | undefined;
  /** Take connections to any address, as TPROXY brings them. Returns an errno's name, or `""`. */
  setTransparent(fd: number, family: 4 | 6): string;
}

type SocketOption = (
  fd: number,
  level: number,
  option: number,
  value: Uint8Array,
  length: Uint32Array | number,
) => number;

class KoffiSockets implements NativeSockets {
  readonly #koffi: typeof Koffi;
  readonly #get: SocketOption;
  readonly #set: SocketOption;
  readonly #address = new Uint8Array(SOCKADDR_BYTES);
  readonly #length = new Uint32Array(1);

  constructor(koffi: typeof Koffi) {
    this.#koffi = koffi;
    const libc = koffi.load(null);
    this.#get = libc.func("int getsockopt(int, int, int, void *, uint32_t *)") as SocketOption;
    this.#set = libc.func("int setsockopt(int, int, int, void *, uint32_t)") as SocketOption;
  }

  originalDestination(fd: number, family: 4 | 6): Endpoint | undefined {
    this.#length[0] = SOCKADDR_BYTES;
    const level = family === 6 ? SOL_IPV6 : SOL_IP;
    if (fd < 0 || this.#get(fd, level, SO_ORIGINAL_DST, this.#address, this.#length) !== 0) return undefined;
    return endpointOfSockaddr(this.#address);
  }

  setTransparent(fd: number, family: 4 | 6): string {
    const value = new Uint8Array(Int32Array.of(1).buffer);
    const [level, option] = family === 6 ? [SOL_IPV6, IPV6_TRANSPARENT] : [SOL_IP, IP_TRANSPARENT];
    return this.#set(fd, level, option, value, value.length) === 0 ? "" : getSystemErrorName(-this.#koffi.errno());
  }
}

/** `struct sockaddr_in` or `sockaddr_in6`: the family in the host's order, port and address in the network's. */
function endpointOfSockaddr(bytes: Uint8Array): Endpoint | undefined {
  const [family] = new Uint16Array(bytes.buffer, bytes.byteOffset, 1);
  if (family === AF_INET) return { family: 4, host: ipv4At(bytes, 4), port: portAt(bytes, 2) };
  if (family !== AF_INET6) return undefined;
  const host = ipv6At(bytes, 8);
  return { family: host.includes(":") ? 6 : 4, host, port: portAt(bytes, 2) };
}

let known: { readonly sockets: NativeSockets | undefined } | undefined;

/** Undefined where koffi is not installed, or this is not Linux. */
export function nativeSockets(): NativeSockets | undefined {
  known ??= { sockets: load() };
  return known.sockets;
}

function load(): NativeSockets | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return new KoffiSockets(createRequire(import.meta.url)("koffi") as typeof Koffi);
  } catch {
    return undefined;
  }
}
