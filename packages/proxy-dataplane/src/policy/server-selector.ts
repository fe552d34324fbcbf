import { jhash3Words, jhashWords } from "@x/perf-cache";
import type { ServerSelection } from "./config.ts";
import { KEY_IPV6 } from "../packet-info.ts";
import { buildMaglevTable, maglevPlace } from "./maglev.ts";
import type { Policy } from "./policy.ts";
import { isMappedIpv4 } from "./range-index.ts";
import type { ServerSet } from "./server-set.ts";
import { ServerHealth, type ServerStates } from "./server-states.ts";
import { weightedSchedule } from "./weighted-schedule.ts";

/** Address families a caller can use: of the key for packets, any for sockets. */
export const ANY_FAMILY = 0;

/** Random places tried in a Maglev table before the flow is spread over what is left. */
const MAGLEV_ATTEMPTS = 16;
/** One group's tables for any family, IPv4 and IPv6. */
const FAMILIES = 3;
const HASH_SEED = 0x9e3779b9 | 0;

/** What a choice is made of, for one group and one family. */
interface Candidates {
  readonly selection: ServerSelection;
  readonly turnSlot: number;
  /** Servers that may be chosen now. */
  readonly usable: Uint8Array;
  /** 1 for each of them, by number. */
  readonly isUsable: Uint8Array;
  /** One period of the weighted round. */
  readonly schedule: Uint8Array;
  /** Of all active servers, healthy or not, so that one that fails moves no flow of another. */
  readonly maglev: Uint8Array;
  /** Lowest priority number first. */
  readonly byPriority: Uint8Array;
}

/**
 * Chooses servers: the packet path by flow keys, the relay by keys it made of addresses and names. One instance per thread; turns,
 * health and open connections are shared by all. Without a change of configuration or health a choice allocates nothing,
 * takes no lock, and is an `Atomics.load` and a table look-up or an `Atomics.add`.
 */
export class ServerSelector {
  readonly states: ServerStates;
  readonly #random: () => number;
  #policy: Policy | undefined;
  #epoch = 0;
  #slots = new Int32Array(0);
  #groupSlots = new Int32Array(0);
  #candidates: (Candidates | undefined)[] = [];
  #maglevs: (Uint8Array | undefined)[] = [];

  /** `random`: integers from 0 to 2^32 - 1. */
  constructor(states: ServerStates, random: () => number) {
    this.states = states;
    this.#random = random;
  }

  /**
   * A server of `group` (of {@link routeGroup}) for the flow of the key at `key[at ..]`, or -1 when none can take it.
   *
   * @param family - 4 or 6: only servers with such an address; {@link ANY_FAMILY}: all, host names too
   * @param tried - not 0 at the numbers of servers that are not to be chosen, because they were tried already
   */
  choose(policy: Policy, group: number, key: Int32Array, at: number, family: number, tried?: Uint8Array): number {
    const candidates = this.#candidatesOf(policy, group, family);
    const { usable } = candidates;
    if (usable.length === 0) return -1;
    const server = this.#pick(policy.servers, candidates, key, at);
    return tried === undefined || tried[server] === 0 ? server : this.#untried(candidates, server, tried);
  }

  /** The slot of a server of `policy` in {@link ServerStates}. */
  slotOf(policy: Policy, server: number): number {
    if (policy !== this.#policy) this.#use(policy);
    return this.#slots[server];
  }

  #pick(servers: ServerSet, candidates: Candidates, key: Int32Array, at: number): number {
    const { selection, usable, schedule, turnSlot } = candidates;
    switch (selection) {
      case "round-robin":
        return usable[this.states.nextTurn(turnSlot) % usable.length];
      case "failover":
        return candidates.byPriority[0];
      case "random":
        return usable[this.#random() % usable.length];
      case "weighted":
        return schedule[this.states.nextTurn(turnSlot) % schedule.length];
      case "weighted-random":
        return schedule[this.#random() % schedule.length];
      case "least-connections":
        return this.#leastConnections(servers, usable, turnSlot);
      case "source-hash":
        return this.#byHash(candidates, sourceHash(key, at));
      default:
        return this.#byHash(candidates, jhashWords(key, at, 10, HASH_SEED));
    }
  }

  #leastConnections(servers: ServerSet, usable: Uint8Array, turnSlot: number): number {
    const { weights } = servers;
    const count = usable.length;
    const first = this.states.nextTurn(turnSlot) % count;
    let best = usable[first];
    let bestOpen = this.states.open(this.#slots[best]);
    for (let i = 1; i < count; i++) {
      const server = usable[first + i < count ? first + i : first + i - count];
      const open = this.states.open(this.#slots[server]);
      // Open connections for each part of weight, without a division. One more, so that weight counts at 0 too.
      if ((open + 1) * weights[best] < (bestOpen + 1) * weights[server]) {
        best = server;
        bestOpen = open;
      }
    }
    return best;
  }

  #byHash({ maglev, isUsable, usable }: Candidates, hash: number): number {
    for (let attempt = 0; attempt < MAGLEV_ATTEMPTS; attempt++) {
      const server = maglev[maglevPlace(hash, attempt, maglev.length)];
      if (isUsable[server] === 1) return server;
    }
    return usable[(jhash3Words(hash, 0, 0, HASH_SEED) >>> 0) % usable.length];
  }

  /** Another server than the one that was chosen: the next by priority in `failover`, else any, from the chosen one on. */
  #untried({ selection, usable, byPriority }: Candidates, chosen: number, tried: Uint8Array): number {
    const order = selection === "failover" ? byPriority : usable;
    const from = order.indexOf(chosen) + 1;
    for (let i = 0; i < order.length; i++) {
      const server = order[(from + i) % order.length];
      if (tried[server] === 0) return server;
    }
    return -1;
  }

  #candidatesOf(policy: Policy, group: number, family: number): Candidates {
    const { epoch } = this.states;
    if (policy !== this.#policy) this.#use(policy);
    if (epoch !== this.#epoch) {
      this.#candidates.fill(undefined);
      this.#epoch = epoch;
    }
    const at = group * FAMILIES + (family === ANY_FAMILY ? 0 : family === 4 ? 1 : 2);
    return (this.#candidates[at] ??= this.#gather(policy.servers, group, family, at));
  }

  #use(policy: Policy): void {
    const { servers } = policy;
    this.#slots = Int32Array.from(servers.identities, (identity) => this.states.claim(identity));
    this.#groupSlots = Int32Array.from(servers.groups, ({ identity }) => this.states.claim(identity));
    this.#candidates = Array.from({ length: servers.groups.length * FAMILIES }, () => undefined);
    this.#maglevs = Array.from(this.#candidates, () => undefined);
    this.#policy = policy;
  }

  #gather(servers: ServerSet, group: number, family: number, at: number): Candidates {
    const { members, selection } = servers.groups[group];
    const inFamily = members.filter((server) => family === ANY_FAMILY || servers.families[server] === family);
    const usable = Uint8Array.from(inFamily.filter((one) => this.states.health(this.#slots[one]) === ServerHealth.Up));
    const isUsable = new Uint8Array(servers.servers.length);
    for (const server of usable) isUsable[server] = 1;
    const isWeighted = selection === "weighted" || selection === "weighted-random";
    const isHashed = selection === "source-hash" || selection === "maglev";
    return {
      selection,
      turnSlot: this.#groupSlots[group],
      usable,
      isUsable,
      byPriority: usable.slice().sort((a, b) => servers.priorities[a] - servers.priorities[b] || a - b),
      schedule: isWeighted && usable.length > 0 ? weightedSchedule(usable, servers.weights) : new Uint8Array(0),
      maglev: isHashed ? (this.#maglevs[at] ??= maglevOf(servers, inFamily)) : new Uint8Array(0),
    };
  }
}

function maglevOf(servers: ServerSet, members: Int32Array): Uint8Array {
  const { weights, identities } = servers;
  return buildMaglevTable(
    Array.from(members, (server) => ({ server, weight: weights[server], identity: identities[server] })),
    servers.maglevSize,
  );
}

/** Of the source alone, and the same for an IPv4 address in either form. */
function sourceHash(key: Int32Array, at: number): number {
  const isIpv4 = (key[at + 9] & KEY_IPV6) === 0;
  if (isIpv4 || isMappedIpv4(key, at)) return jhash3Words(key[isIpv4 ? at : at + 3], 0, 0, HASH_SEED);
  return jhashWords(key, at, 4, HASH_SEED);
}
