import { jsonCodec, RcuCell, type Rcu } from "@x/rcu";
import { parseAddress } from "./addresses.ts";
import { DataplaneError } from "./errors.ts";

/**
 * How the server of a new connection is chosen among the active ones of its address family: in turn; the one with the
 * lowest priority number, first listed first; or at random.
 *
 * @public
 */
export type ServerSelection = "round-robin" | "failover" | "random";

/**
 * One upstream proxy server.
 *
 * @public
 */
export interface ProxyServer {
  readonly type: "socks5" | "http" | "https" | "socks4";
  /** IPv4 or IPv6 address. */
  readonly address: string;
  /** 1 to 65535. */
  readonly port: number;
  /** Lower wins in `failover`. An integer from 0 to 65535. */
  readonly priority: number;
  /** Whether new connections may go there. */
  readonly active: boolean;
  readonly username?: string;
  readonly password?: string;
}

/**
 * What the data path does with flows. A flow that no rule selects, or for which no server is active, goes direct.
 *
 * @public
 */
export interface ProxyConfig {
  readonly version: 1;
  readonly selection: ServerSelection;
  /** 1 to 8. */
  readonly servers: readonly ProxyServer[];
  /** Protocols that are sent to a server. Default both. */
  readonly protocols?: readonly ("tcp" | "udp")[];
  /** Destination ports that are sent to a server. Default all. At most 64. */
  readonly ports?: readonly number[];
  /** Destinations that go direct: addresses with a prefix length, `10.0.0.0/8`. At most 64. */
  readonly bypass?: readonly string[];
}

/** Servers of a configuration, as the original's control interface has it. */
export const MAX_SERVERS = 8;
const MAX_RULES = 64;
const MAX_PORT = 65535;

const words = new Int32Array(4);

/**
 * Throws `DATAPLANE_INVALID_CONFIG`, with a JSON pointer to the member, unless `value` is a valid configuration.
 *
 * @public
 */
export function validateProxyConfig(value: ProxyConfig): void {
  if (typeof value !== "object" || value === null) throw invalid("", "a configuration is an object");
  if (value.version !== 1) throw invalid("/version", "the version must be 1");
  if (!["round-robin", "failover", "random"].includes(value.selection)) {
    throw invalid("/selection", `selection is ${value.selection}; round-robin, failover or random`);
  }
  if (!Array.isArray(value.servers) || value.servers.length < 1 || value.servers.length > MAX_SERVERS) {
    throw invalid("/servers", `a configuration has 1 to ${MAX_SERVERS} servers`);
  }
  value.servers.forEach((server, index) => validateServer(server, `/servers/${index}`));
  validateRules(value);
}

function validateServer(server: ProxyServer, path: string): void {
  if (typeof server !== "object" || server === null) throw invalid(path, "a server is an object");
  if (!["socks5", "http", "https", "socks4"].includes(server.type)) {
    throw invalid(`${path}/type`, `type is ${server.type}; socks5, http, https or socks4`);
  }
  if (typeof server.address !== "string" || parseAddress(server.address, words, 0) === 0) {
    throw invalid(`${path}/address`, `${server.address} is no IPv4 or IPv6 address`);
  }
  if ((words[0] | words[1] | words[2] | words[3]) === 0) throw invalid(`${path}/address`, "the address is all zero");
  if (!isInteger(server.port, 1, MAX_PORT)) throw invalid(`${path}/port`, `port is ${server.port}; 1 to ${MAX_PORT}`);
  if (!isInteger(server.priority, 0, MAX_PORT)) {
    throw invalid(`${path}/priority`, `priority is ${server.priority}; 0 to ${MAX_PORT}`);
  }
  if (typeof server.active !== "boolean") throw invalid(`${path}/active`, "active is true or false");
}

function validateRules(value: ProxyConfig): void {
  const { protocols = [], ports = [], bypass = [] } = value;
  if (!Array.isArray(protocols) || !protocols.every((name) => name === "tcp" || name === "udp")) {
    throw invalid("/protocols", "protocols are tcp and udp");
  }
  if (!Array.isArray(ports) || ports.length > MAX_RULES || !ports.every((port) => isInteger(port, 1, MAX_PORT))) {
    throw invalid("/ports", `at most ${MAX_RULES} ports from 1 to ${MAX_PORT}`);
  }
  if (!Array.isArray(bypass) || bypass.length > MAX_RULES) throw invalid("/bypass", `at most ${MAX_RULES} networks`);
  bypass.forEach((network, index) => {
    if (typeof network !== "string" || parseNetwork(network) === undefined) {
      throw invalid(`/bypass/${index}`, `${network} is no network; 10.0.0.0/8 is one`);
    }
  });
}

function isInteger(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

function invalid(path: string, message: string): DataplaneError {
  return new DataplaneError("DATAPLANE_INVALID_CONFIG", message, { path });
}

/** A network: address words, prefix length, family. */
export interface Network {
  readonly words: Int32Array;
  readonly bits: number;
  readonly isIpv6: boolean;
}

export function parseNetwork(text: string): Network | undefined {
  const [address, length, ...rest] = text.split("/");
  const network = new Int32Array(4);
  const family = parseAddress(address, network, 0);
  if (family === 0 || rest.length > 0) return undefined;
  const most = family === 4 ? 32 : 128;
  const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : -1;
  return bits < 0 || bits > most ? undefined : { words: network, bits, isIpv6: family === 6 };
}

/**
 * A cell for a {@link ProxyConfig}: validated when it is written, read by every CPU without waiting.
 *
 * @public
 */
export function proxyConfigCell(options: { readonly rcu: Rcu; readonly initial: ProxyConfig }): RcuCell<ProxyConfig> {
  return RcuCell.create<ProxyConfig>({ ...options, codec: jsonCodec, validate: validateProxyConfig, maxBytes: 16384 });
}

/**
 * Join a cell of {@link proxyConfigCell} from another thread.
 *
 * @public
 */
export function attachProxyConfigCell(
  handle: RcuCell<ProxyConfig>["handle"],
  options: { readonly rcu: Rcu },
): RcuCell<ProxyConfig> {
  return RcuCell.attach<ProxyConfig>(handle, { ...options, codec: jsonCodec, validate: validateProxyConfig });
}
