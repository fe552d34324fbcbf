import type { ProxyConfig } from "./policy/config.ts";
import { KEY_IPV6 } from "./packet-info.ts";
import { Policy, RouteAction, routeAction, routeGroup } from "./policy/policy.ts";
import type { FlowFacts } from "./policy/facts.ts";
import type { ServerSelector } from "./policy/server-selector.ts";

/** What one choice of a server takes from outside. */
export interface SelectionSource {
  readonly selector: ServerSelector;
  /** What the host knows of flows; the object is filled again for each. */
  readonly facts: FlowFacts;
  readonly describe: ((key: Int32Array, at: number, facts: FlowFacts) => void) | undefined;
}

/** Results of {@link Upstreams.choose} that are no server. */
export const GO_DIRECT = -1;
export const BLOCKED = -2;

/** A configuration made ready for the data path: made once for each version, then read only. */
export class Upstreams {
  /** Address words of server `i` from `4 * i`. */
  readonly addresses: Int32Array;
  readonly ports: Int32Array;
  /** Where the open connections of each server are counted. */
  readonly slots: Int32Array;
  readonly #policy: Policy;

  constructor(config: ProxyConfig, version: number, selector: ServerSelector) {
    this.#policy = new Policy(config, version);
    this.slots = Int32Array.from(config.servers, (_, server) => selector.slotOf(this.#policy, server));
    this.addresses = this.#policy.servers.addresses;
    this.ports = this.#policy.servers.ports;
  }

  /** The server of a new flow by number, {@link GO_DIRECT} or {@link BLOCKED}. */
  choose(key: Int32Array, at: number, { selector, facts, describe }: SelectionSource): number {
    if (describe !== undefined) describe(key, at, facts.clear());
    const decision = this.#policy.route(key, at, facts);
    let action = routeAction(decision);
    if (action === RouteAction.Proxy) {
      const family = (key[at + 9] & KEY_IPV6) === 0 ? 4 : 6;
      const server = selector.choose(this.#policy, routeGroup(decision), key, at, family);
      if (server >= 0) return server;
      action = this.#policy.withoutServer;
    }
    return action === RouteAction.Direct ? GO_DIRECT : BLOCKED;
  }
}
