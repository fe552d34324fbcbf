import { connect } from "node:net";
import type { ProxyServer } from "../policy/config.ts";
import type { PolicyEngine } from "../policy/policy-engine.ts";
import { ServerHealth } from "../policy/server-states.ts";
import { serverName } from "../policy/validate.ts";
import { DEFAULT_HEALTH, type RelayConfig } from "../relay/config.ts";

/** Where nobody looks, a server that failed gets another chance after this. */
const SECOND_CHANCE_MS = 10_000;

/** Looks at every server now and then, by connecting to it, and tells all workers what it found. */
export class HealthChecker {
  readonly #policy: PolicyEngine;
  readonly #config: () => RelayConfig;
  readonly #events: { readonly onMessage?: ((text: string) => void) | undefined };
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(
    policy: PolicyEngine,
    config: () => RelayConfig,
    events: { readonly onMessage?: ((text: string) => void) | undefined },
  ) {
    this.#policy = policy;
    this.#config = config;
    this.#events = events;
  }

  start(): void {
    const { intervalMs } = { ...DEFAULT_HEALTH, ...this.#config().health };
    this.#timer = setTimeout(() => void this.#look(), intervalMs === 0 ? SECOND_CHANCE_MS : intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    const { policy, health } = this.#config();
    const { intervalMs, timeoutMs } = { ...DEFAULT_HEALTH, ...health };
    // A server behind others cannot be reached from here: it is as well as its connections say.
    const chained = new Set(Object.keys(this.#config().chains ?? {}));
    await Promise.all(
      (policy?.servers ?? []).map(async (server) => {
        const looks = intervalMs > 0 && !chained.has(serverName(server));
        this.#set(server, !looks || (await answers(server, timeoutMs)));
      }),
    );
    if (this.#timer !== undefined) this.start();
  }

  #set(server: ProxyServer, isWell: boolean): void {
    const name = serverName(server);
    const health = isWell ? ServerHealth.Up : ServerHealth.Down;
    try {
      if (this.#policy.health(name) === health || this.#policy.health(name) === ServerHealth.Draining) return;
      this.#policy.setHealth(name, health);
      this.#events.onMessage?.(`server ${name} is ${isWell ? "up" : "down"}`);
    } catch {
      // A reload has taken the server away.
    }
  }
}

function answers({ address, port }: ProxyServer, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: timeoutMs });
    const done = (isWell: boolean): void => {
      socket.destroy();
      resolve(isWell);
    };
    socket.on("connect", () => done(true));
    socket.on("timeout", () => done(false));
    socket.on("error", () => done(false));
  });
}
