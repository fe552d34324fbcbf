import { listenerName } from "./config-validate.ts";
import { targetOf, type Target } from "./endpoints-text.ts";
import {
  DEFAULT_DNS,
  DEFAULT_HEALTH,
  DEFAULT_RETRIES,
  DEFAULT_TIMEOUTS,
  DEFAULT_UDP_FLOWS,
  type DnsConfig,
  type HealthConfig,
  type ListenerConfig,
  type ListenerKind,
} from "./config.ts";
import type { RelayConfig, RelayTimeouts } from "./config.ts";
import type { ProxyServer } from "../policy/config.ts";
import { serverName } from "../policy/validate.ts";
import { httpInbound } from "./inbound-http.ts";
import { socks4Inbound, socks5Inbound } from "./inbound-socks.ts";
import type { Inbound } from "./inbound.ts";
import { TargetGuard } from "./networks.ts";
import { SOCKS4_VERSION } from "./socks4.ts";
import { SOCKS5_VERSION } from "./socks5.ts";

/** A listener of a configuration, ready for use. */
export interface ListenerRuntime {
  readonly index: number;
  readonly name: string;
  readonly config: ListenerConfig;
  readonly runtime: RelayRuntime;
  readonly target: Target | undefined;
  readonly authenticates: boolean;
  /** The packet filter sends the connections, and knows where to. */
  readonly isTransparent: boolean;
  /** The first bytes of clients are looked at. */
  readonly peeks: boolean;
  /** Where the kind leaves no choice. */
  readonly inbound: Inbound | undefined;
}

const TRANSPARENT: readonly ListenerKind[] = ["redirect", "tproxy"];

/** A configuration, ready for use by one worker. It does not change; a reload makes another. */
export class RelayRuntime {
  readonly config: RelayConfig;
  readonly timeouts: Required<RelayTimeouts>;
  readonly dns: Required<DnsConfig>;
  readonly health: Required<HealthConfig>;
  readonly retries: number;
  readonly udpFlows: number;
  /** The packet filter sends connections, and may send the proxy's own. */
  readonly isTransparent: boolean;
  /** A rule asks for the client's process. */
  readonly asksProcess: boolean;
  readonly guard: TargetGuard;
  readonly listeners: readonly ListenerRuntime[];
  readonly #users: ReadonlyMap<string, string>;

  /** `config` must be valid. */
  constructor(config: RelayConfig) {
    this.config = config;
    this.timeouts = { ...DEFAULT_TIMEOUTS, ...config.timeouts };
    this.dns = { ...DEFAULT_DNS, ...config.dns };
    this.health = { ...DEFAULT_HEALTH, ...config.health };
    this.retries = config.retries ?? DEFAULT_RETRIES;
    this.udpFlows = config.limits?.udpFlows ?? DEFAULT_UDP_FLOWS;
    this.isTransparent = config.listeners.some(({ kind }) => TRANSPARENT.includes(kind));
    const rules = config.policy?.rules ?? [];
    this.asksProcess = rules.some((rule) => rule.process !== undefined);
    const asksHost = rules.some(({ hosts }) => hosts !== undefined);
    this.guard = new TargetGuard(config.targets?.allowPrivate ?? false, config.targets?.allow ?? []);
    this.#users = new Map(Object.entries(config.users ?? {}));
    this.listeners = config.listeners.map((listener, index) => ({
      index,
      name: listenerName(listener),
      config: listener,
      runtime: this,
      target: listener.target === undefined ? undefined : targetOf(listener.target),
      authenticates: listener.authenticate ?? this.#users.size > 0,
      isTransparent: TRANSPARENT.includes(listener.kind),
      peeks: listener.peek ?? (asksHost && (TRANSPARENT.includes(listener.kind) || listener.kind === "forward")),
      inbound: listener.kind === "http" ? httpInbound : undefined,
    }));
  }

  /** The servers on the way by way of `server`, first to last. */
  chainTo(server: ProxyServer): readonly ProxyServer[] {
    const before = this.config.chains?.[serverName(server)] ?? [];
    const servers = this.config.policy?.servers ?? [];
    return [...before.flatMap((name) => servers.find((each) => serverName(each) === name) ?? []), server];
  }

  /** Whether the password is the user's. Takes as long for every wrong one of a length. */
  passwordHolds(user: string, password: string): boolean {
    const right = this.#users.get(user) ?? "";
    let difference = right.length ^ password.length;
    for (let i = 0; i < password.length; i++)
      difference |= password.charCodeAt(i) ^ right.charCodeAt(i % (right.length || 1));
    return difference === 0 && right !== "";
  }

  /** What the first byte of a client says it speaks; undefined where a listener of that kind does not. */
  inboundOf(first: number, kind: ListenerKind): Inbound | undefined {
    if (first === SOCKS5_VERSION) return socks5Inbound;
    if (first === SOCKS4_VERSION) return socks4Inbound;
    return kind === "mixed" ? httpInbound : undefined;
  }
}
