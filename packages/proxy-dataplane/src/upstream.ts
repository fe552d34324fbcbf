import type { ProxyConfig } from "./policy/config.ts";
import { KEY_IPV6 } from "./packet-info.ts";
import { Policy, RouteAction, routeAction, routeGroup } from "./policy/policy.ts";
import type { FlowFacts } from "./policy/facts.ts";
import type { ServerSelector } from "./policy/server-selector.ts";
import type { RejectAnswer } from "./policy/translation-config.ts";
import type { FlowTarget } from "./translation/flow-target.ts";
import { Translator } from "./translation/translator.ts";

/** What one choice of a server takes from outside. */
export interface SelectionSource {
  readonly selector: ServerSelector;
  /** What the host knows of flows; the object is filled again for each. */
  readonly facts: FlowFacts;
  readonly describe: ((key: Int32Array, at: number, facts: FlowFacts) => void) | undefined;
}

/** Results of {@link Upstreams.choose}: a connection is made to the target; or the packet is dropped, without or with an answer. */
export const CONNECT = 0;
export const BLOCKED = -4;
export const REJECTED = -5;
/** The client is over its limit: told by who asks {@link ClientLimits}. */
export const LIMITED = -6;

/** A configuration made ready for the data path: made once for each version, then read only. */
export class Upstreams {
  /** Where the open connections of each server are counted. */
  readonly slots: Int32Array;
  readonly rejectWith: RejectAnswer;
  /** Rules of address translation; the box's own addresses. */
  readonly translator: Translator | undefined;
  readonly policy: Policy;

  constructor(config: ProxyConfig, version: number, selector: ServerSelector) {
    this.policy = new Policy(config, version);
    this.slots = Int32Array.from(config.servers, (_, server) => selector.slotOf(this.policy, server));
    this.rejectWith = config.rejectWith ?? "reset";
    this.translator = config.translation === undefined ? undefined : new Translator(config.translation);
  }

  /**
   * What becomes of the new flow of the key: {@link CONNECT}, with `target` filled, {@link BLOCKED} or {@link REJECTED}. `hash` is the
   * same for all flows of a client.
   */
  choose(key: Int32Array, at: number, hash: number, source: SelectionSource, target: FlowTarget): number {
    const { facts, describe } = source;
    if (describe !== undefined) describe(key, at, facts.clear());
    const decision = this.policy.route(key, at, facts);
    let action = routeAction(decision);
    target.begin(key, at);
    const mayTranslate = this.translator !== undefined && action <= RouteAction.Proxy;
    if (mayTranslate && this.translator.translateDestination(key, at, hash, target)) action = RouteAction.Direct;
    if (action === RouteAction.Proxy) {
      const family = (key[at + 9] & KEY_IPV6) === 0 ? 4 : 6;
      const server = source.selector.choose(this.policy, routeGroup(decision), key, at, family);
      if (server >= 0) this.#toServer(server, target);
      else action = this.policy.withoutServer;
    }
    if (action === RouteAction.Reject) return REJECTED;
    if (action === RouteAction.Drop) return BLOCKED;
    this.translator?.translateSource(key, at, target);
    return CONNECT;
  }

  #toServer(server: number, target: FlowTarget): void {
    const { addresses, ports } = this.policy.servers;
    for (let i = 0; i < 4; i++) target.far[i] = addresses[server * 4 + i];
    target.farPort = ports[server];
    target.server = server;
    target.serverSlot = this.slots[server];
    target.isTranslated = true;
  }
}
