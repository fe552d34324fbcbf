import type { ProxyConfig } from "../policy/config.ts";

/**
 * How a listener understands its clients:
 *
 * - `mixed`: SOCKS4, 4a and 5 and HTTP, told apart by the first byte.
 * - `socks`: SOCKS4, 4a and 5.
 * - `http`: CONNECT, and requests in absolute form.
 * - `forward`: every connection goes to `target`.
 * - `udp`: datagrams go to `target`, from a port for each client. One worker serves such a listener.
 * - `redirect`: Linux: connections that a REDIRECT or DNAT rule of the packet filter sends here go where they were meant to go. Through
 *   koffi where that is installed, else by `/proc/net/nf_conntrack`.
 * - `tproxy`: Linux: the same for connections that a TPROXY rule brings. Needs koffi, and CAP_NET_ADMIN.
 *
 * @public
 */
export type ListenerKind = "mixed" | "socks" | "http" | "forward" | "udp" | "redirect" | "tproxy";

/**
 * Where the proxy takes connections.
 *
 * @public
 */
export interface ListenerConfig {
  /** For logs and metrics. Unique. Default: kind and address. */
  readonly name?: string;
  readonly kind: ListenerKind;
  /** `127.0.0.1:1080`, `[::1]:1080` (IPv6 alone, `[::]` too), a port alone (on 127.0.0.1), or `unix:/path`. */
  readonly listen: string;
  /** For `forward`: `host:port`, or `unix:/path`. For `udp`: `host:port`. */
  readonly target?: string;
  /** Clients must say a user of `users` and the password. Default: when the configuration has users. */
  readonly authenticate?: boolean;
  /** Every connection begins with a header of the PROXY protocol, version 1 or 2. Only for clients that are trusted. */
  readonly acceptProxyProtocol?: boolean;
  /** Send a header of the PROXY protocol to the target of direct connections. */
  readonly sendProxyProtocol?: "v1" | "v2";
  /**
   * Look at the client's first bytes for the name it asks for (SNI, Host), so that rules by name hold for targets by address. Default: for
   * `forward`, `redirect` and `tproxy`, when a rule has hosts. A client of `socks`, `http` or `mixed` is then told that the way is open before
   * its target is connected; why it is not, it is not told.
   */
  readonly peek?: boolean;
}

/**
 * Deadlines in milliseconds. 0 is none.
 *
 * @public
 */
export interface RelayTimeouts {
  /** From accepting a connection to its whole request. Default 10 000. */
  readonly handshakeMs?: number;
  /** For one attempt to connect. Default 10 000. */
  readonly connectMs?: number;
  /** For what an upstream proxy must answer. Default 10 000. */
  readonly upstreamMs?: number;
  /** While nothing moves in either direction. Default 600 000. */
  readonly idleMs?: number;
  /** While nothing moves after one side has ended its direction. Default 60 000. */
  readonly halfClosedMs?: number;
  /** While nothing passes in a UDP flow. Default 60 000. */
  readonly udpIdleMs?: number;
  /** For the first bytes of a client whose name a rule asks for; a client that waits for its server loses this much. Default 300. */
  readonly peekMs?: number;
  /** How long `drain` waits before it closes what is left. Default 30 000. */
  readonly drainMs?: number;
}

/**
 * Which targets clients may reach directly.
 *
 * @public
 */
export interface TargetConfig {
  /** Loopback, private (RFC 1918, 100.64/10, fc00::/7), link-local and multicast addresses too. Default false. */
  readonly allowPrivate?: boolean;
  /** Networks that may be reached although they are private: `10.1.0.0/16`, `127.0.0.1`. */
  readonly allow?: readonly string[];
}

/**
 * Bounds of the whole proxy.
 *
 * @public
 */
export interface RelayLimits {
  /** Open connections, all workers together. Default 65 536. */
  readonly connections?: number;
  /** Open connections and UDP flows of one client address, where `policy.limits.perClient` does not say it. Default: no limit. */
  readonly connectionsPerClient?: number;
  /** Open flows of one UDP listener, in equal parts of the workers that serve it. Default 8 192. */
  readonly udpFlows?: number;
}

/**
 * Name look-ups.
 *
 * @public
 */
export interface DnsConfig {
  /** How long an answer is used. Default 60 000. */
  readonly ttlMs?: number;
  /** How long a failure is. Default 5 000. */
  readonly negativeTtlMs?: number;
  /** Names remembered by each worker. Default 4096. */
  readonly entries?: number;
  /** `any`: addresses of both families race, IPv6 first. Default. */
  readonly family?: "any" | "ipv4" | "ipv6";
  /** How long an attempt runs alone before the next address is tried beside it (RFC 8305). Default 250. */
  readonly attemptDelayMs?: number;
}

/**
 * How servers that do not work are found out, and found well again.
 *
 * @public
 */
export interface HealthConfig {
  /** Failures in a row of one worker's connections after which a server gets no more. 0: never. Default 3. */
  readonly passiveFailures?: number;
  /** Time between two looks at every server, by connecting to it. 0: never; then a server that failed is given another chance after 10 s. Default 5 000. */
  readonly intervalMs?: number;
  /** For one look. Default 2 000. */
  readonly timeoutMs?: number;
}

/**
 * What moves bytes:
 *
 * - `node`: sockets of Node.js, everywhere.
 * - `epoll`: on Linux, where the package `koffi` is installed, system calls from an event loop of its own.
 * - `auto`: the fastest that works here.
 *
 * @public
 */
export type EngineName = "auto" | "node" | "epoll";

/**
 * What `startProxy` runs. Everything may be changed while it runs, but `workers`, `engine` and `limits.connections`.
 *
 * @public
 */
export interface RelayConfig {
  readonly version: 1;
  /** 1 to 64. */
  readonly listeners: readonly ListenerConfig[];
  /** User names and passwords. */
  readonly users?: Readonly<Record<string, string>>;
  readonly targets?: TargetConfig;
  readonly timeouts?: RelayTimeouts;
  readonly limits?: RelayLimits;
  /** Servers, groups and rules, as the packet path has them. Default: everything goes direct. Servers of type `https` are not spoken to. */
  readonly policy?: ProxyConfig;
  /** Servers that are reached by way of others: the name of one, and the names of those before it, first to last. */
  readonly chains?: Readonly<Record<string, readonly string[]>>;
  /** Servers that are tried after one that failed, before the client has had a byte. Default 2. */
  readonly retries?: number;
  readonly health?: HealthConfig;
  readonly dns?: DnsConfig;
  /** Worker threads. Default: processors of the host. */
  readonly workers?: number;
  /** Default `auto`. */
  readonly engine?: EngineName;
  /** Path of the access log, one JSON object a line. */
  readonly accessLog?: string;
  /** Path of the control socket. */
  readonly control?: string;
  /** Where Prometheus asks: `127.0.0.1:9090`. */
  readonly metrics?: string;
  /** Path of a capture (pcap) of what passes, as packets between clients and targets. Begun anew at the start. */
  readonly pcap?: string;
}

/** Deadlines with their defaults. */
export const DEFAULT_TIMEOUTS: Required<RelayTimeouts> = {
  handshakeMs: 10_000,
  connectMs: 10_000,
  upstreamMs: 10_000,
  idleMs: 600_000,
  halfClosedMs: 60_000,
  udpIdleMs: 60_000,
  peekMs: 300,
  drainMs: 30_000,
};

/** Look-ups with their defaults. */
export const DEFAULT_DNS: Required<DnsConfig> = {
  ttlMs: 60_000,
  negativeTtlMs: 5_000,
  entries: 4096,
  family: "any",
  attemptDelayMs: 250,
};

/** Health with its defaults. */
export const DEFAULT_HEALTH: Required<HealthConfig> = { passiveFailures: 3, intervalMs: 5000, timeoutMs: 2000 };

export const DEFAULT_RETRIES = 2;

/** The policy where there is none: the format needs a server, which nothing is sent to. */
export const DIRECT_POLICY: ProxyConfig = {
  version: 1,
  selection: "failover",
  servers: [{ type: "socks5", address: "127.0.0.1", port: 1, active: false }],
  defaultAction: "direct",
};

export const DEFAULT_CONNECTIONS = 65_536;
export const DEFAULT_UDP_FLOWS = 8192;

/** What the policy engine runs: the policy, or none, with the limit that the relay's configuration has beside it. */
export function policyOf({ policy = DIRECT_POLICY, limits }: RelayConfig): ProxyConfig {
  const connections = limits?.connectionsPerClient;
  if (connections === undefined) return policy;
  return { ...policy, limits: { ...policy.limits, perClient: { connections, ...policy.limits?.perClient } } };
}
