import { soloHal, type CpuId, type Hal, type LockObserver } from "@x/smp";
import { parseAddress } from "../addresses.ts";
import { DataplaneError } from "../errors.ts";
import { KEY_IPV6, KEY_WORDS } from "../packet-info.ts";
import { IpProtocol } from "../protocols.ts";
import { seededRandom } from "../random.ts";
import { jhashBytes } from "@x/perf-cache";
import type { ProcessFacts, ProxyConfig, ProxyServer, RuleAction } from "./config.ts";
import { FlowFacts } from "./facts.ts";
import { ACTION_NAMES, Policy, routeAction, RouteAction, routeGroup, routeRule } from "./policy.ts";
import { ANY_FAMILY, ServerSelector } from "./server-selector.ts";
import { ServerStates, type ServerHealth, type ServerStatesHandle } from "./server-states.ts";

/**
 * What joins a {@link PolicyEngine} from another thread, with the handle of its configuration cell.
 *
 * @public
 */
export interface PolicyEngineHandle {
  readonly servers: ServerStatesHandle;
}

/**
 * Where the latest configuration is: a cell of `proxyConfigCell`, or a part of a larger configuration. It has been validated, and is
 * the same object until it changes.
 *
 * @public
 */
export interface ProxyConfigSource {
  /** From 1. */
  readonly version: number;
  read(): ProxyConfig;
}

/**
 * What every thread that joins a {@link PolicyEngine} passes.
 *
 * @public
 */
export interface PolicyEngineJoin {
  readonly hal?: Hal;
  readonly config: ProxyConfigSource;
  /** Numbers from 0 up to 1 for the random selections. Default: a generator seeded with `seed`. */
  readonly random?: (() => number) | undefined;
  /** Default 1. */
  readonly seed?: number;
  readonly lockObserver?: LockObserver | undefined;
}

/**
 * A connection that somebody asks the relay for.
 *
 * @public
 */
export interface ConnectionRequest {
  /** Default `tcp`. */
  readonly protocol?: "tcp" | "udp";
  /** The client's address. */
  readonly client: string;
  readonly clientPort?: number;
  /** An address or a host name. */
  readonly destination: string;
  readonly port: number;
  /** What the client calls the destination, when that is known besides its address: SNI, Host. */
  readonly hostName?: string | undefined;
  /** Authenticated user. */
  readonly user?: string | undefined;
  readonly process?: ProcessFacts | undefined;
}

/**
 * What becomes of a connection.
 *
 * @public
 */
export interface ConnectionRoute {
  readonly action: RuleAction;
  /** The rule that says so, as the configuration lists them; -1: the default. */
  readonly rule: number;
  /** With `proxy`: the server, its number in the configuration, and its slot for {@link PolicyEngine.opened}. Else -1 and 0. */
  readonly server: ProxyServer | undefined;
  readonly serverIndex: number;
  readonly serverSlot: number;
  /** The policy the decision was made by: pass it to {@link PolicyEngine.nextServer}, also when there is a newer one. */
  readonly policy: Policy;
}

/**
 * Decides and chooses for one thread: the latest configuration, compiled; health and open connections of servers, shared
 * with all other threads. The packet path and the relay of one proxy use the same cell and the same shared part.
 *
 * Thread-safety: one instance per thread; what it shares is changed by atomic operations. A new configuration holds from the next
 * {@link PolicyEngine.current} on, a server's health from the next choice on.
 *
 * @public
 */
export class PolicyEngine {
  readonly handle: PolicyEngineHandle;
  readonly #config: ProxyConfigSource;
  readonly #states: ServerStates;
  readonly #selector: ServerSelector;
  readonly #facts = new FlowFacts();
  readonly #key = new Int32Array(KEY_WORDS);
  #compiledFrom: ProxyConfig | undefined;
  #compiled!: Policy;

  private constructor(states: ServerStates, join: PolicyEngineJoin) {
    const { hal = soloHal(), seed = 1, config } = join;
    const random = join.random ?? seededRandom(seed, hal.possibleCpus, () => hal.currentCpu());
    this.handle = { servers: states.handle };
    this.#config = config;
    this.#states = states;
    this.#selector = new ServerSelector(states, () => Math.floor(random() * 0x1_0000_0000));
  }

  /** Make the shared part. */
  static create(join: PolicyEngineJoin): PolicyEngine {
    return new PolicyEngine(ServerStates.create(join), join);
  }

  /** Join from another thread. */
  static attach(handle: PolicyEngineHandle, join: PolicyEngineJoin): PolicyEngine {
    return new PolicyEngine(ServerStates.attach(handle.servers, join), join);
  }

  /** The policy of the latest configuration. One `Atomics.load`, unless that changed: then it is compiled. */
  current(): Policy {
    const config = this.#config.read();
    if (config !== this.#compiledFrom) {
      this.#compiled = new Policy(config, this.#config.version);
      this.#compiledFrom = config;
    }
    return this.#compiled;
  }

  /**
   * A server of a group (of {@link routeGroup}) for the flow of the key at `key[at ..]` by number, or -1. No allocation.
   *
   * @param family - 4 or 6: of a server's address; 0: any, host names too
   * @param tried - not 0 at the numbers of servers that are not to be chosen
   */
  choose(policy: Policy, group: number, key: Int32Array, at: number, family: 0 | 4 | 6, tried?: Uint8Array): number {
    return this.#selector.choose(policy, group, key, at, family, tried);
  }

  /** The slot of a server of a policy, for {@link PolicyEngine.opened}. From 1. */
  slotOf(policy: Policy, server: number): number {
    return this.#selector.slotOf(policy, server);
  }

  /** What becomes of a connection. Throws `DATAPLANE_INVALID_ARGUMENT` when the client is no address. */
  routeConnection(request: ConnectionRequest): ConnectionRoute {
    const policy = this.current();
    const facts = this.#describe(request);
    const decision = policy.route(this.#key, 0, facts);
    const rule = routeRule(decision);
    if (routeAction(decision) === RouteAction.Proxy) {
      const route = this.#towards(policy, routeGroup(decision), rule);
      if (route !== undefined) return route;
    }
    const action = routeAction(decision) === RouteAction.Proxy ? policy.withoutServer : routeAction(decision);
    return { action: ACTION_NAMES[action], rule, server: undefined, serverIndex: -1, serverSlot: 0, policy };
  }

  /**
   * Another server for a connection whose server failed, by the policy it was routed by; `undefined` when no other is left.
   *
   * @param tried - numbers of the servers that were tried
   */
  nextServer(
    request: ConnectionRequest,
    route: ConnectionRoute,
    tried: readonly number[],
  ): ConnectionRoute | undefined {
    if (route.action !== "proxy") return undefined;
    const { policy, rule } = route;
    const marks = new Uint8Array(policy.servers.servers.length);
    for (const server of tried) marks[server] = 1;
    this.#describe(request);
    const group = policy.config.rules?.[rule]?.group ?? "";
    return this.#towards(
      policy,
      policy.servers.groups.findIndex(({ name }) => name === group),
      rule,
      marks,
    );
  }

  /** A connection to a server's slot is open: counts for `least-connections`. */
  opened(slot: number): void {
    this.#states.opened(slot);
  }

  /** It is closed. */
  closed(slot: number): void {
    this.#states.closed(slot);
  }

  /** The thread of `cpu` has died: whoever waits for a lock that it held goes on. What it had opened is its keeper's to close. */
  reportDead(cpu: CpuId): void {
    this.#states.reportDead(cpu);
  }

  /** Open connections of a server of the latest configuration, by its name or number. */
  openConnections(server: string | number): number {
    return this.#states.open(this.#slotNamed(server));
  }

  /**
   * Tell whether a server of the latest configuration can take connections; by its name or number. Every choice that begins
   * afterwards obeys, on every CPU. It keeps its health in later configurations. Throws `DATAPLANE_INVALID_ARGUMENT`.
   */
  setHealth(server: string | number, health: ServerHealth): void {
    this.#states.setHealth(this.#slotNamed(server), health);
  }

  health(server: string | number): ServerHealth {
    return this.#states.health(this.#slotNamed(server));
  }

  #slotNamed(server: string | number): number {
    const policy = this.current();
    const { names } = policy.servers;
    const index = typeof server === "number" ? server : names.indexOf(server);
    if (names[index] !== undefined) return this.#selector.slotOf(policy, index);
    throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", `no server is ${server}; there are ${names.join(", ")}`);
  }

  #towards(policy: Policy, group: number, rule: number, tried?: Uint8Array): ConnectionRoute | undefined {
    const serverIndex = this.#selector.choose(policy, group, this.#key, 0, ANY_FAMILY, tried);
    if (serverIndex < 0) return undefined;
    const serverSlot = this.#selector.slotOf(policy, serverIndex);
    return { action: "proxy", rule, server: policy.config.servers[serverIndex], serverIndex, serverSlot, policy };
  }

  /** Fills the key and the facts of a request. The destination is of the client's family in the key, or only its name counts. */
  #describe(request: ConnectionRequest): FlowFacts {
    const { protocol = "tcp", client, clientPort = 0, destination, port, hostName, user, process } = request;
    const key = this.#key;
    const facts = this.#facts.clear();
    const clientFamily = parseAddress(client, key, 0);
    if (clientFamily === 0) throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", `${client} is no address`);
    const family = parseAddress(destination, key, 4);
    // Families may differ: the relay takes IPv6 clients to IPv4 destinations. The key has room for one: IPv4 in IPv6 form.
    if (clientFamily !== family && family !== 0) toMapped(key, clientFamily === 4 ? 0 : 4);
    key[8] = (clientPort << 16) | port;
    key[9] =
      (protocol === "tcp" ? IpProtocol.Tcp : IpProtocol.Udp) | (clientFamily === 6 || family === 6 ? KEY_IPV6 : 0);
    facts.setName(hostName ?? (family === 0 ? destination : ""));
    if (family === 0) {
      facts.nameOnly = true;
      key[4] = jhashBytes(facts.name.subarray(0, facts.nameLength), 0);
    }
    facts.user = user;
    facts.process = process;
    return facts;
  }
}

function toMapped(key: Int32Array, at: number): void {
  key[at + 3] = key[at];
  key[at] = 0;
  key[at + 1] = 0;
  key[at + 2] = 0xffff;
}
