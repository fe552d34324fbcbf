import { jhashBytes } from "@x/perf-cache";
import { parseAddress } from "../addresses.ts";
import { KEY_IPV6 } from "../packet-info.ts";
import type { ProxyConfig, ProxyServer, ServerSelection } from "./config.ts";
import { DEFAULT_MAGLEV_SIZE } from "./limits.ts";
import { serverName } from "./validate.ts";

/** Whose counts a slot of `ServerStates` holds: two hashes of a name. Not both 0. */
export interface Identity {
  readonly low: number;
  readonly high: number;
}

/** A group of servers; group 0 is all of them. */
export interface CompiledGroup {
  readonly name: string;
  readonly selection: ServerSelection;
  /** Servers that are active, in the order of the configuration. */
  readonly members: Int32Array;
  readonly identity: Identity;
}

/** The servers of a configuration in the form that selection works with. Servers are numbered as it lists them. */
export class ServerSet {
  readonly servers: readonly ProxyServer[];
  readonly names: readonly string[];
  /** Address words of server `i` from `4 * i`. */
  readonly addresses: Int32Array;
  readonly ports: Int32Array;
  /** 4, 6, or 0 for a host name. */
  readonly families: Int32Array;
  readonly priorities: Int32Array;
  readonly weights: Int32Array;
  readonly identities: readonly Identity[];
  readonly groups: readonly CompiledGroup[];
  readonly maglevSize: number;

  constructor(config: ProxyConfig) {
    const { servers } = config;
    this.servers = servers;
    this.names = servers.map(serverName);
    this.addresses = new Int32Array(servers.length * 4);
    this.families = Int32Array.from(servers, ({ address }, i) => parseAddress(address, this.addresses, i * 4));
    this.ports = Int32Array.from(servers, ({ port }) => port);
    this.priorities = Int32Array.from(servers, ({ priority = 10 }) => priority);
    this.weights = Int32Array.from(servers, ({ weight = 1 }) => weight);
    this.identities = this.names.map((name) => identityOf(`server ${name}`));
    this.maglevSize = config.maglevSize ?? DEFAULT_MAGLEV_SIZE;
    const names = ["", ...new Set(servers.flatMap(({ groups = [] }) => groups))];
    this.groups = names.map((name) => ({
      name,
      selection: (name === "" ? undefined : config.groups?.[name]?.selection) ?? config.selection,
      members: Int32Array.from(
        servers.flatMap(({ active = true, groups = [] }, i) =>
          active && (name === "" || groups.includes(name)) ? [i] : [],
        ),
      ),
      identity: identityOf(`group ${name}`),
    }));
  }

  /** Whether a flow goes to or comes from a server itself: it must not be sent to a server again. */
  isServer(key: Int32Array, at: number): boolean {
    const { addresses, ports, families } = this;
    const [sourcePort, destinationPort] = [key[at + 8] >>> 16, key[at + 8] & 0xffff];
    const family = (key[at + 9] & KEY_IPV6) === 0 ? 4 : 6;
    for (let server = 0; server < ports.length; server++) {
      if (families[server] !== family) continue;
      if (ports[server] === destinationPort && isSame(addresses, server * 4, key, at + 4)) return true;
      if (ports[server] === sourcePort && isSame(addresses, server * 4, key, at)) return true;
    }
    return false;
  }
}

function isSame(a: Int32Array, atA: number, b: Int32Array, atB: number): boolean {
  for (let i = 0; i < 4; i++) if (a[atA + i] !== b[atB + i]) return false;
  return true;
}

function identityOf(name: string): Identity {
  const bytes = new TextEncoder().encode(name);
  return { low: jhashBytes(bytes, 0), high: jhashBytes(bytes, 1) | 1 };
}
