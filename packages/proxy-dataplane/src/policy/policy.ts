import { IpProtocol } from "../protocols.ts";
import { KEY_IPV6 } from "../packet-info.ts";
import { BitRowsBuilder, setBit } from "./bit-rows.ts";
import type { ClientLimit, ProxyConfig, RuleAction } from "./config.ts";
import { FlowFacts } from "./facts.ts";
import { mergeRanges, rangesOf, rangesOfClasses, type AddressRanges } from "./networks.ts";
import { AddressIndex, NumberIndex } from "./range-index.ts";
import { portRanges, RuleTable } from "./rule-table.ts";
import { ServerSet } from "./server-set.ts";
import { validateProxyConfig } from "./validate.ts";

/**
 * What becomes of a flow, as a number of {@link Policy.route}.
 *
 * @public
 */
export const RouteAction: { readonly Direct: 0; readonly Proxy: 1; readonly Reject: 2; readonly Drop: 3 } = {
  Direct: 0,
  Proxy: 1,
  Reject: 2,
  Drop: 3,
};

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type RouteAction = 0 | 1 | 2 | 3;

const ACTION_NUMBERS: Readonly<Record<RuleAction, RouteAction>> = { direct: 0, proxy: 1, reject: 2, drop: 3 };
export const ACTION_NAMES: readonly RuleAction[] = ["direct", "proxy", "reject", "drop"];

/*
 * A decision in one number:  action: bits 0-1   group: bits 2-9   rule + 1: from bit 10
 */
const GROUP_SHIFT = 2;
const RULE_SHIFT = 10;

/**
 * The action in a decision.
 *
 * @public
 */
export function routeAction(decision: number): RouteAction {
  return (decision & 3) as RouteAction;
}

/**
 * The group in a decision, as `ServerSelector.choose` takes it; 0: all servers.
 *
 * @public
 */
export function routeGroup(decision: number): number {
  return (decision >> GROUP_SHIFT) & 0xff;
}

/**
 * The rule that made a decision, as the configuration lists them; -1: none, the default did.
 *
 * @public
 */
export function routeRule(decision: number): number {
  return (decision >> RULE_SHIFT) - 1;
}

const NO_FACTS = new FlowFacts();

/** Limits with every default filled in; 0: not limited, except `connections`, where -1 is. */
export interface CompiledLimit {
  readonly connections: number;
  readonly connectionsPerSecond: number;
  readonly connectionBurst: number;
  readonly bytesPerSecond: number;
  readonly byteBurst: number;
}

/**
 * A configuration made ready for use: made once for each version in each thread, then only read. The packet path and the
 * relay decide by the same object. Not for two threads at once.
 *
 * @public
 */
export class Policy {
  readonly config: ProxyConfig;
  /** Of the cell the configuration came from; 0 without. */
  readonly version: number;
  /** @internal */
  readonly servers: ServerSet;
  /** What becomes of a flow that no server can take. */
  readonly withoutServer: RouteAction;
  /** @internal */
  readonly perClient: CompiledLimit | undefined;
  /** @internal */
  readonly perUser: CompiledLimit | undefined;
  readonly #rules: RuleTable | undefined;
  /** Decision of each rule. */
  readonly #decisions: Int32Array;
  readonly #default: RouteAction;
  readonly #bypass: AddressIndex;
  /** Row of the index above for what is in it. */
  readonly #bypassed: number;
  readonly #ports: NumberIndex | undefined;
  readonly #selectedPorts: number;
  readonly #tcp: boolean;
  readonly #udp: boolean;

  /** @internal */
  constructor(config: ProxyConfig, version: number) {
    const { rules = [], protocols = ["tcp", "udp"], withoutServer = "direct", defaultAction = "proxy" } = config;
    this.config = config;
    this.version = version;
    this.servers = new ServerSet(config);
    this.withoutServer = ACTION_NUMBERS[withoutServer];
    this.perClient = compileLimit(config.limits?.perClient);
    this.perUser = compileLimit(config.limits?.perUser);
    this.#default = ACTION_NUMBERS[defaultAction];
    this.#rules = rules.length === 0 ? undefined : new RuleTable(rules);
    const groups = this.servers.groups.map(({ name }) => name);
    this.#decisions = Int32Array.from(rules, ({ action, group }, rule) => {
      const number = group === undefined ? 0 : groups.indexOf(group, 1);
      return ACTION_NUMBERS[action] | (number << GROUP_SHIFT) | ((rule + 1) << RULE_SHIFT);
    });
    const rows = new BitRowsBuilder(1);
    const inside = rows.blank();
    setBit(inside, 0);
    this.#bypass = new AddressIndex([bypassOf(config)], rows);
    this.#bypassed = rows.intern(inside);
    this.#ports = config.ports === undefined ? undefined : new NumberIndex([portRanges(config.ports)], rows, 16);
    this.#selectedPorts = this.#bypassed;
    this.#tcp = protocols.includes("tcp");
    this.#udp = protocols.includes("udp");
  }

  /**
   * What becomes of the flow whose key is at `key[at ..]` (the flow key of `@x/perf-cache`): a number that
   * {@link routeAction}, {@link routeGroup} and {@link routeRule} take apart. Never negative.
   *
   * Cost: no allocation. One search for each kind of condition that any rule has, then one AND for each 32 rules that may
   * hold, however many rules there are.
   */
  route(key: Int32Array, at: number, facts: FlowFacts = NO_FACTS): number {
    const rule = this.#rules === undefined ? -1 : this.#rules.find(key, at, facts);
    const decision = rule >= 0 ? this.#decisions[rule] : this.#byDefault(key, at);
    if (routeAction(decision) !== RouteAction.Proxy || this.#mayProxy(key, at, facts)) return decision;
    return (decision & ~3) | RouteAction.Direct;
  }

  #byDefault(key: Int32Array, at: number): number {
    if (this.#default !== RouteAction.Proxy) return this.#default;
    const protocol = key[at + 9] & 0xff;
    if (protocol === IpProtocol.Tcp ? !this.#tcp : protocol === IpProtocol.Udp ? !this.#udp : true) {
      return RouteAction.Direct;
    }
    if (this.#ports !== undefined && this.#ports.find(key[at + 8] & 0xffff) !== this.#selectedPorts) {
      return RouteAction.Direct;
    }
    return RouteAction.Proxy;
  }

  #mayProxy(key: Int32Array, at: number, facts: FlowFacts): boolean {
    const protocol = key[at + 9] & 0xff;
    if (protocol !== IpProtocol.Tcp && protocol !== IpProtocol.Udp) return false;
    if (facts.nameOnly) return true;
    const isIpv6 = (key[at + 9] & KEY_IPV6) !== 0;
    return this.#bypass.find(key, at + 4, isIpv6) !== this.#bypassed && !this.servers.isServer(key, at);
  }
}

/**
 * Makes a configuration ready for use. Throws `DATAPLANE_INVALID_CONFIG`.
 *
 * @param version - of the cell it came from, if it did
 *
 * @public
 */
export function compilePolicy(config: ProxyConfig, version = 0): Policy {
  validateProxyConfig(config);
  return new Policy(config, version);
}

function bypassOf({ bypass = [], bypassClasses = ["local", "multicast"] }: ProxyConfig): AddressRanges {
  const networks = rangesOf(bypass);
  const classes = rangesOfClasses(bypassClasses);
  return {
    ipv4: mergeRanges([...networks.ipv4, ...classes.ipv4]),
    ipv6: mergeRanges([...networks.ipv6, ...classes.ipv6]),
  };
}

/** A burst that is too small for one packet's bytes would stop a client for ever. */
const LEAST_BYTE_BURST = 65536;

function compileLimit(limit: ClientLimit | undefined): CompiledLimit | undefined {
  if (limit === undefined) return undefined;
  const { connections = -1, connectionsPerSecond = 0, bytesPerSecond = 0 } = limit;
  return {
    connections,
    connectionsPerSecond,
    connectionBurst: limit.connectionBurst ?? Math.max(1, connectionsPerSecond),
    bytesPerSecond,
    byteBurst: limit.byteBurst ?? Math.max(LEAST_BYTE_BURST, bytesPerSecond),
  };
}
