import { parseAddress } from "./addresses.ts";
import { KEY_IPV6 } from "./packet-info.ts";
import { IpProtocol } from "./protocols.ts";
import { parseNetwork, type Network, type ProxyConfig, type ServerSelection } from "./proxy-config.ts";

/** What one selection among servers may take from outside: a counter that all CPUs share, and randomness. */
export interface SelectionSource {
  /** The next turn of the round, from 0. */
  nextTurn(): number;
  /** A number from 0 to 2^32 - 1. */
  random(): number;
}

/**
 * A configuration made ready for the data path: made once for each version, then read only. Servers are numbered as the
 * configuration lists them.
 */
export class Upstreams {
  readonly selection: ServerSelection;
  /** Address words of server `i` from `4 * i`. */
  readonly addresses: Int32Array;
  readonly ports: Int32Array;
  readonly #priorities: Int32Array;
  readonly #usable4: readonly number[];
  readonly #usable6: readonly number[];
  readonly #families: Int32Array;
  readonly #tcp: boolean;
  readonly #udp: boolean;
  readonly #destinationPorts: ReadonlySet<number> | undefined;
  readonly #bypass: readonly Network[];

  constructor(config: ProxyConfig) {
    const { servers } = config;
    this.selection = config.selection;
    this.addresses = new Int32Array(servers.length * 4);
    this.#families = Int32Array.from(servers, (server, i) => parseAddress(server.address, this.addresses, i * 4));
    this.ports = Int32Array.from(servers, (server) => server.port);
    this.#priorities = Int32Array.from(servers, (server) => server.priority);
    const usable = (family: number): number[] =>
      servers.flatMap((server, i) => (server.active && this.#families[i] === family ? [i] : []));
    this.#usable4 = usable(4);
    this.#usable6 = usable(6);
    this.#tcp = config.protocols?.includes("tcp") ?? true;
    this.#udp = config.protocols?.includes("udp") ?? true;
    this.#destinationPorts = config.ports === undefined ? undefined : new Set(config.ports);
    this.#bypass = (config.bypass ?? []).flatMap((text) => parseNetwork(text) ?? []);
  }

  /** The server of a new flow, or -1: it goes direct. */
  choose(key: Int32Array, at: number, source: SelectionSource): number {
    const isIpv6 = (key[at + 9] & KEY_IPV6) !== 0;
    const usable = isIpv6 ? this.#usable6 : this.#usable4;
    if (usable.length === 0 || !this.#selects(key, at) || this.#isServer(key, at)) return -1;
    if (this.selection === "failover") return this.#lowest(usable);
    const turn = this.selection === "round-robin" ? source.nextTurn() : source.random();
    return usable[turn % usable.length];
  }

  #selects(key: Int32Array, at: number): boolean {
    const protocol = key[at + 9] & 0xff;
    if (protocol === IpProtocol.Tcp ? !this.#tcp : protocol === IpProtocol.Udp ? !this.#udp : true) return false;
    if (this.#destinationPorts !== undefined && !this.#destinationPorts.has(key[at + 8] & 0xffff)) return false;
    for (const network of this.#bypass) if (contains(network, key, at)) return false;
    return true;
  }

  /** A flow to or from a server itself must not be sent to a server again. */
  #isServer(key: Int32Array, at: number): boolean {
    const { addresses, ports } = this;
    const [sourcePort, destinationPort] = [key[at + 8] >>> 16, key[at + 8] & 0xffff];
    for (let server = 0; server < ports.length; server++) {
      if ((this.#families[server] === 6) !== ((key[at + 9] & KEY_IPV6) !== 0)) continue;
      if (ports[server] === destinationPort && sameAddress(addresses, server * 4, key, at + 4)) return true;
      if (ports[server] === sourcePort && sameAddress(addresses, server * 4, key, at)) return true;
    }
    return false;
  }

  #lowest(usable: readonly number[]): number {
    let best = usable[0];
    for (const server of usable) if (this.#priorities[server] < this.#priorities[best]) best = server;
    return best;
  }
}

function sameAddress(a: Int32Array, atA: number, b: Int32Array, atB: number): boolean {
  for (let i = 0; i < 4; i++) if (a[atA + i] !== b[atB + i]) return false;
  return true;
}

/** Whether the destination of a key is inside. */
function contains(network: Network, key: Int32Array, at: number): boolean {
  if (network.isIpv6 !== ((key[at + 9] & KEY_IPV6) !== 0)) return false;
  for (let word = 0; word * 32 < network.bits; word++) {
    const bits = Math.min(32, network.bits - word * 32);
    if ((network.words[word] ^ key[at + 4 + word]) >>> (32 - bits) !== 0) return false;
  }
  return true;
}
