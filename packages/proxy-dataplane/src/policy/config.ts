import type { RejectAnswer, TranslationConfig } from "./translation-config.ts";

/**
 * How the server of a new flow is chosen among the servers of its group that are active, healthy and of a usable address
 * family:
 *
 * - `round-robin`: in turn, one round for all CPUs.
 * - `failover`: the lowest priority number, first listed first.
 * - `random`: each as likely.
 * - `weighted`: in turn, by weight, spread as evenly as can be (smooth weighted round robin).
 * - `weighted-random`: as likely as its weight says.
 * - `least-connections`: the fewest open connections for its weight; equals in turn.
 * - `source-hash`: the same for all flows of a client address (a Maglev table over the source address).
 * - `maglev`: the same for all packets with the same ends, and for all but about 1/N of them when one of N servers goes
 *   (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016).
 *
 * @public
 */
export type ServerSelection =
  | "round-robin"
  | "failover"
  | "random"
  | "weighted"
  | "weighted-random"
  | "least-connections"
  | "source-hash"
  | "maglev";

/**
 * One upstream proxy server.
 *
 * @public
 */
export interface ProxyServer {
  /** For messages and for feeding in health. Unique. Default `type://address:port`. */
  readonly name?: string;
  /** `http` is CONNECT. */
  readonly type: "socks5" | "http" | "https" | "socks4";
  /** IPv4 or IPv6 address; a host name too, for the relay alone: packets have no use for one. */
  readonly address: string;
  /** 1 to 65535. */
  readonly port: number;
  /** Lower wins in `failover`. An integer from 0 to 65535. Default 10. */
  readonly priority?: number;
  /** Share in the weighted selections. An integer from 1 to 256. Default 1. */
  readonly weight?: number;
  /** Whether new connections may go there. Default true. */
  readonly active?: boolean;
  /** Groups the server belongs to, besides the group of all servers. */
  readonly groups?: readonly string[];
  readonly username?: string;
  readonly password?: string;
}

/**
 * What differs in a group of servers.
 *
 * @public
 */
export interface ServerGroup {
  /** Default: that of the configuration. */
  readonly selection?: ServerSelection;
}

/**
 * What becomes of a flow: sent to a server, sent on as it is, refused with an answer, or lost without one.
 *
 * @public
 */
export type RuleAction = "proxy" | "direct" | "reject" | "drop";

/**
 * A class of addresses. `loopback`: 127/8, ::1. `local`: those and 0/8, ::, 255.255.255.255. `link-local`: 169.254/16,
 * fe80::/10. `private`: RFC 1918, 100.64/10, fc00::/7, fec0::/10. `multicast`: 224/4, ff00::/8. `public`: all others. An IPv4
 * address inside an IPv6 one (::ffff:0:0/96) is of the class of the IPv4 address.
 *
 * @public
 */
export type AddressClass = "loopback" | "local" | "link-local" | "private" | "multicast" | "public";

/**
 * Who sends: facts that the host supplies. A condition on a fact that is not supplied does not hold.
 *
 * @public
 */
export interface ProcessFacts {
  readonly pid?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** The command's name, at most 15 bytes on Linux. */
  readonly comm?: string;
  /** Path of the executable. */
  readonly path?: string;
  readonly cgroup?: string;
}

/**
 * Conditions on the process. Each list that is given must have an entry that holds.
 *
 * @public
 */
export interface ProcessConditions {
  readonly pid?: readonly number[];
  readonly uid?: readonly number[];
  readonly gid?: readonly number[];
  readonly comm?: readonly string[];
  /** Exactly, or everything below a folder: `/usr/lib/*`. */
  readonly path?: readonly string[];
  /** The control group itself and all below it. */
  readonly cgroup?: readonly string[];
}

/**
 * A rule: holds when every kind of condition that is given holds, and a kind holds when one of its entries does. A rule
 * without conditions holds for every flow.
 *
 * @public
 */
export interface ProxyRule {
  /** For messages and counts. */
  readonly name?: string;
  readonly action: RuleAction;
  /** With `proxy`: the group of servers. Default: all servers. */
  readonly group?: string;
  /** Source networks: `10.0.0.0/8`, an address alone. */
  readonly source?: readonly string[];
  readonly destination?: readonly string[];
  /** Classes of the destination. */
  readonly classes?: readonly AddressClass[];
  /** Ports, and ranges of ports as `8000-8999`. */
  readonly sourcePorts?: readonly (number | string)[];
  readonly ports?: readonly (number | string)[];
  /** By name, or IP protocol numbers. */
  readonly protocols?: readonly ("tcp" | "udp" | "icmp" | "icmpv6" | number)[];
  /** Names of the destination: `example.com`; `*.example.com` for all below it; `*` for every flow whose name is known. */
  readonly hosts?: readonly string[];
  /** Authenticated users; `*` for every one. */
  readonly users?: readonly string[];
  readonly process?: ProcessConditions;
}

/**
 * Limits of one client or user; what is left out is not limited.
 *
 * @public
 */
export interface ClientLimit {
  /** Open connections. */
  readonly connections?: number;
  /** New connections a second, on average. */
  readonly connectionsPerSecond?: number;
  /** New connections at once. Default: those of one second, at least 1. */
  readonly connectionBurst?: number;
  /** Bytes a second in both directions, on average. */
  readonly bytesPerSecond?: number;
  /** Bytes at once. Default: those of one second, at least 65536. */
  readonly byteBurst?: number;
}

/**
 * Limits of each client address and of each user.
 *
 * @public
 */
export interface ProxyLimits {
  readonly perClient?: ClientLimit;
  readonly perUser?: ClientLimit;
  /** Leading bits that make an IPv4 client. Default 32. */
  readonly ipv4Bits?: number;
  /** Leading bits that make an IPv6 client. Default 64: a host has a whole such network. */
  readonly ipv6Bits?: number;
}

/**
 * What becomes of flows.
 *
 * 1. The first rule that holds says it. 2. Where none does, `defaultAction`; what that would send to a server goes direct
 * unless `protocols` and `ports` select it. 3. What would go to a server goes direct when its destination is in `bypass` or
 * in one of `bypassClasses`, or is a server itself; so does all that is neither TCP nor UDP. 4. When no server of the group can
 * take it, `withoutServer`.
 *
 * On the packet path, a flow that is neither rejected nor dropped goes where the first rule of `translation.destination` that holds
 * says, before 3. and 4.
 *
 * @public
 */
export interface ProxyConfig {
  /** Of the format. The versions of a configuration are counted by its cell. */
  readonly version: 1;
  readonly selection: ServerSelection;
  /** At most 64. None is for rules that only say what is direct and what is blocked. */
  readonly servers: readonly ProxyServer[];
  /** Groups whose selection differs. A group exists when a server belongs to it. */
  readonly groups?: Readonly<Record<string, ServerGroup>>;
  /** At most 4096; the first that holds decides. */
  readonly rules?: readonly ProxyRule[];
  /** For flows that no rule holds for. Default `proxy`. */
  readonly defaultAction?: RuleAction;
  /** For flows that no server can take. Default `direct`. */
  readonly withoutServer?: "direct" | "reject" | "drop";
  /** Protocols that the default action sends to a server. Default both. */
  readonly protocols?: readonly ("tcp" | "udp")[];
  /** Destination ports that the default action sends to a server. Default all. */
  readonly ports?: readonly (number | string)[];
  /** Destinations that are never sent to a server: networks, as `10.0.0.0/8`. */
  readonly bypass?: readonly string[];
  /** Classes of destinations that are never sent to a server. Default `local` and `multicast`. */
  readonly bypassClasses?: readonly AddressClass[];
  readonly limits?: ProxyLimits;
  /** How a packet of a rejected flow is answered. Default `reset`. */
  readonly rejectWith?: RejectAnswer;
  readonly translation?: TranslationConfig;
  /** Places of a Maglev table: a prime from 251 to 1048573. Default 8191. Another size moves nearly every flow. */
  readonly maglevSize?: number;
}
