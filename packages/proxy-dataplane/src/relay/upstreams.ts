import type { ConnectionRequest, ConnectionRoute, PolicyEngine } from "../policy/policy-engine.ts";
import type { Policy } from "../policy/policy.ts";
import { ServerHealth } from "../policy/server-states.ts";
import { serverName } from "../policy/validate.ts";
import type { HealthConfig } from "./config.ts";

/** What a relay needs of a policy: routes, and what it learns of servers on the way. One worker's. */
export class Upstreams {
  readonly #policy: PolicyEngine;
  /** Failures of a server one after another, by its name: a success forgets them. */
  readonly #failures = new Map<string, number>();

  constructor(policy: PolicyEngine) {
    this.#policy = policy;
  }

  /** The latest policy. */
  policy(): Policy {
    return this.#policy.current();
  }

  route(request: ConnectionRequest): ConnectionRoute {
    return this.#policy.routeConnection(request);
  }

  next(request: ConnectionRequest, route: ConnectionRoute, tried: readonly number[]): ConnectionRoute | undefined {
    return this.#policy.nextServer(request, route, tried);
  }

  opened(route: ConnectionRoute): void {
    if (route.serverSlot !== 0) this.#policy.opened(route.serverSlot);
  }

  closed(route: ConnectionRoute): void {
    if (route.serverSlot !== 0) this.#policy.closed(route.serverSlot);
  }

  /** A connection through the server has come about. */
  succeeded(route: ConnectionRoute): void {
    if (this.#failures.size > 0) this.#failures.delete(nameOf(route));
  }

  /** The server is at fault. After some times in a row it gets nothing more, until a check finds it well. */
  failed(route: ConnectionRoute, health: Required<HealthConfig>): void {
    const name = nameOf(route);
    const failures = (this.#failures.get(name) ?? 0) + 1;
    this.#failures.set(name, failures);
    if (health.passiveFailures === 0 || failures < health.passiveFailures) return;
    this.#failures.delete(name);
    try {
      this.#policy.setHealth(name, ServerHealth.Down);
    } catch {
      // A reload has taken the server away.
    }
  }
}

function nameOf({ server }: ConnectionRoute): string {
  return server === undefined ? "" : serverName(server);
}
