import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import { startCpus, type CpuThreads } from "@x/smp/node";
import { DataplaneError } from "../errors.ts";
import { listenerName, validateRelayConfig } from "../relay/config-validate.ts";
import { DEFAULT_CONNECTIONS, DEFAULT_TIMEOUTS, policyOf, type RelayConfig } from "../relay/config.ts";
import type { RelayConnection } from "../relay/connection-table.ts";
import { Count, type RelayCounter } from "../relay/counters.ts";
import type { Endpoint } from "../relay/engine.ts";
import { beginCapture } from "./capture-file.ts";
import { chooseEngine, listeningSockets, type EngineChoice } from "./choose-engine.ts";
import { Descriptors } from "./epoll/descriptors.ts";
import { ownAddresses } from "./host-facts.ts";
import { sharesUdpPorts } from "./net-engine.ts";
import { HealthChecker } from "./health-checker.ts";
import { OpenListeners, type OpenListener } from "./open-listeners.ts";
import { createShared, WorkerCall, type PublishedConfig, type Shared, type SharedHandles } from "./shared.ts";
import type { WorkerData } from "./worker.ts";

/** A worker that dies again and again is replaced more and more slowly. */
const RESTART_MS = 50;
const RESTART_MS_MAX = 5000;
/** What a worker may take to write its log and end; after that it is ended. */
const STOP_MS = 5000;
/** How often a drain looks whether all is over. */
const DRAIN_LOOK_MS = 20;

/**
 * What a proxy tells about itself.
 *
 * @public
 */
export interface ProxyEvents {
  /** For the log of the program. */
  readonly onMessage?: ((text: string) => void) | undefined;
}

/**
 * How a proxy is.
 *
 * @public
 */
export interface ProxyStatus {
  readonly pid: number;
  readonly workers: number;
  readonly workersReplaced: number;
  readonly configVersion: number;
  readonly connections: number;
  readonly connectionsMost: number;
  readonly isDraining: boolean;
  readonly uptimeMs: number;
  readonly listeners: readonly { readonly name: string; readonly kind: string; readonly listen: string }[];
  readonly counters: Readonly<Record<RelayCounter, number>>;
}

/**
 * A running proxy; {@link startProxy} makes it.
 *
 * Thread-safety: belongs to the thread that started it. Its workers share configuration, connections and counters with it.
 *
 * @public
 */
export class RunningProxy {
  readonly workers: number;
  readonly #shared: Shared;
  readonly #handles: SharedHandles;
  readonly #listeners: OpenListeners;
  readonly #events: ProxyEvents;
  readonly #startedMs = Date.now();
  readonly #threads = new Map<number, CpuThreads>();
  /** Where each worker notes its descriptors. */
  readonly #opened = new Map<number, SharedArrayBuffer>();
  readonly #deaths = new Map<number, number>();
  readonly #health: HealthChecker;
  readonly #engine: EngineChoice["name"];
  #config: RelayConfig;
  #replaced = 0;
  #isStopping = false;
  #isDraining = false;
  #hasToldOfUdp = false;
  /** Reloads follow each other. */
  #reloading: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(config: RelayConfig, events: ProxyEvents) {
    this.workers = config.workers ?? availableParallelism();
    this.#config = config;
    this.#events = events;
    const { name, reason } = chooseEngine(config.engine ?? "auto");
    this.#engine = name;
    events.onMessage?.(`engine ${name}: ${reason}`);
    this.#listeners = new OpenListeners(listeningSockets(name, this.workers));
    const initial: PublishedConfig = { config: { version: 1, listeners: [] }, slots: [], own: [] };
    const shared = createShared(this.workers, initial, config.limits?.connections ?? DEFAULT_CONNECTIONS);
    this.#shared = shared;
    this.#health = new HealthChecker(shared.policy, () => this.#config, events);
    this.#handles = shared.handles;
  }

  /** @internal */
  async start(): Promise<void> {
    try {
      if (this.#config.pcap !== undefined) beginCapture(this.#config.pcap);
      await this.#publish(this.#config, await this.#listeners.bindMissing(this.#config));
      const cpus = Array.from({ length: this.workers }, (_, index) => index + 1);
      await Promise.all(cpus.map((cpu) => this.#startWorker(cpu)));
      for (const cpu of cpus) await this.#giveListeners(cpu, this.#listeners.all);
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#listeners.rest();
    this.#health.start();
  }

  get config(): RelayConfig {
    return this.#config;
  }

  /** Where the proxy listens, with the ports that the system chose, in the order of the configuration. */
  get endpoints(): readonly Endpoint[] {
    return this.#config.listeners.map((listener) => this.#listeners.localOf(listener));
  }

  /**
   * Run with another configuration from now on: validated, published to all workers, seen when this resolves. Connections are not
   * touched; what has begun goes on as it was. Rejects, and changes nothing, with `DATAPLANE_INVALID_CONFIG` or `RELAY_LISTEN`.
   *
   * @returns the version of the configuration
   */
  reload(config: RelayConfig): Promise<number> {
    const next = this.#reloading.then(() => this.#reload(config));
    this.#reloading = next.catch(() => undefined);
    return next;
  }

  status(): ProxyStatus {
    return {
      pid: process.pid,
      workers: this.workers,
      workersReplaced: this.#replaced,
      configVersion: this.#shared.cell.version,
      connections: this.#shared.table.size,
      connectionsMost: this.#shared.table.capacity,
      isDraining: this.#isDraining,
      uptimeMs: Date.now() - this.#startedMs,
      listeners: this.#config.listeners.map((listener, index) => ({
        name: listenerName(listener),
        kind: listener.kind,
        listen: endpointName(this.endpoints[index]),
      })),
      counters: this.#shared.counters.snapshot(),
    };
  }

  /** Counters of one worker, 1 to `workers`. */
  countersOf(worker: number): Readonly<Record<RelayCounter, number>> {
    return this.#shared.counters.snapshot(worker);
  }

  /** The thread of a worker, 1 to `workers`. Throws `RELAY_STOPPED` while it is being replaced. */
  worker(worker: number): Worker {
    const threads = this.#threads.get(worker);
    if (threads === undefined) throw new DataplaneError("RELAY_STOPPED", `worker ${worker} does not run`);
    return threads.worker(worker);
  }

  /** Every open connection of every worker. */
  async connections(): Promise<RelayConnection[]> {
    await this.#callAll(WorkerCall.Publish);
    return this.#list();
  }

  /** End a connection by its id; false where there is none. */
  async kill(id: number): Promise<boolean> {
    let at: { object: number; cpu: number } | undefined;
    this.#withRcu(() =>
      this.#shared.table.list((connection, object) => {
        if (connection.id === id) at = { object, cpu: connection.cpu };
      }),
    );
    if (at === undefined) return false;
    const ended = await this.#shared.calls.callAsync(at.cpu, WorkerCall.Kill, at.object, id | 0).catch(() => 0);
    return ended === 1;
  }

  /** Begin new access logs: after a rotation that cannot wait. */
  async reopenLogs(): Promise<void> {
    await this.#callAll(WorkerCall.ReopenLog);
  }

  /**
   * Take no new connections, wait until those open have ended, at most `timeoutMs` (default: the configuration's), end the
   * rest, and stop.
   *
   * @returns how many had to be ended
   */
  async drain(timeoutMs?: number): Promise<number> {
    this.#isDraining = true;
    const waitMs = timeoutMs ?? this.#config.timeouts?.drainMs ?? DEFAULT_TIMEOUTS.drainMs;
    await this.#callAll(WorkerCall.StopListening);
    this.#listeners.close();
    const endMs = Date.now() + waitMs;
    while (this.#shared.table.size > 0 && Date.now() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
    }
    const left = this.#shared.table.size;
    await this.close();
    return left;
  }

  /** Stop at once. */
  async close(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#health.stop();
    this.#listeners.close();
    const running = [...this.#threads.values()];
    const ended = Promise.all(running.map((threads) => threads.exited.catch(() => undefined)));
    void this.#callAll(WorkerCall.Stop);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_MS)));
    await Promise.race([ended, late]);
    clearTimeout(timer);
    await Promise.all(running.map((threads) => threads.terminate()));
  }

  /** {@link RunningProxy.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #reload(config: RelayConfig): Promise<number> {
    validateRelayConfig(config);
    if (this.#isStopping || this.#isDraining) throw new DataplaneError("RELAY_STOPPED", "the proxy is ending");
    const before = new Set(this.#listeners.all);
    const open = await this.#listeners.bindMissing(config);
    if (config.pcap !== undefined && config.pcap !== this.#config.pcap) beginCapture(config.pcap);
    const { version, gone } = await this.#publish(config, open);
    await this.#callAll(WorkerCall.Configure);
    for (const { socket } of gone) socket?.close();
    const added = open.filter((listener) => !before.has(listener));
    for (const cpu of this.#threads.keys()) await this.#giveListeners(cpu, added);
    this.#listeners.rest();
    return version;
  }

  /** Reloads may follow each other faster than workers let old versions go: then this waits. */
  async #publish(
    config: RelayConfig,
    open: readonly OpenListener[],
  ): Promise<{ readonly version: number; readonly gone: readonly OpenListener[] }> {
    // Workers look at the policy with every connection, at the rest when they are told: the policy comes first.
    await this.#shared.policyCell.updateAsync(policyOf(config));
    const slots = open.map(({ slot }) => slot);
    const version = await this.#shared.cell.updateAsync({ config, slots, own: ownEnds(open) });
    this.#config = config;
    this.#tellOfUdp(open);
    return { version, gone: this.#listeners.replace(open) };
  }

  /** What is not as one may expect. */
  #tellOfUdp(open: readonly OpenListener[]): void {
    const isAlone = this.workers > 1 && !sharesUdpPorts() && open.some(({ socket }) => socket === undefined);
    if (isAlone && !this.#hasToldOfUdp)
      this.#events.onMessage?.(
        "UDP listeners are served by one worker each: sharing a port needs Node.js 22.12 or koffi",
      );
    this.#hasToldOfUdp ||= isAlone;
  }

  async #startWorker(cpu: number): Promise<void> {
    const opened = Descriptors.memory();
    this.#opened.set(cpu, opened);
    const data: WorkerData = { shared: this.#handles, engine: this.#engine, opened };
    const threads = await startCpus({
      cpus: [cpu],
      entry: new URL("./worker.js", import.meta.url),
      hal: this.#shared.hal,
      mailbox: this.#shared.mailbox,
      data,
      onExit: (dead, error) => {
        Descriptors.closeAll(opened);
        if (this.#opened.get(cpu) === opened) this.#opened.delete(cpu);
        this.#onExit(dead, error?.message);
      },
    });
    threads.exited.catch(() => undefined);
    this.#threads.set(cpu, threads);
    threads.worker(cpu).on("message", (message: { kind: string; name: string; error: string }) => {
      this.#events.onMessage?.(`worker ${cpu}: ${message.kind} ${message.name}: ${message.error}`);
    });
  }

  async #giveListeners(cpu: number, listeners: readonly OpenListener[]): Promise<void> {
    for (const { slot, socket, local } of listeners) {
      if (socket === undefined && !sharesUdpPorts() && (slot % this.workers) + 1 !== cpu) continue;
      const opened = this.#opened.get(cpu);
      if (opened === undefined) return;
      const how = socket === undefined ? local.port : await socket.duplicate(cpu, opened);
      await this.#shared.calls.callAsync(cpu, WorkerCall.Listen, slot, how);
    }
  }

  /** A worker has ended: what it had is gone, and another takes its place. */
  #onExit(cpu: number, error: string | undefined): void {
    const wasJoined = this.#threads.delete(cpu);
    if (this.#isStopping || !wasJoined) return;
    const { rcu, counters } = this.#shared;
    rcu.reportDead(cpu);
    const { lost, connections } = this.#withRcu(() => this.#reap(cpu));
    counters.addOn(0, Count.closed, connections);
    this.#replaced++;
    const deaths = (this.#deaths.get(cpu) ?? 0) + 1;
    this.#deaths.set(cpu, deaths);
    const delayMs = Math.min(RESTART_MS_MAX, RESTART_MS * 2 ** (deaths - 1));
    this.#events.onMessage?.(
      `worker ${cpu} has ended (${error ?? "no error"}) with ${lost} connections; a new one follows`,
    );
    setTimeout(() => void this.#replace(cpu), delayMs);
  }

  /** Forget what a dead worker had, and give back what that held of counts. */
  #reap(cpu: number): { readonly lost: number; readonly connections: number } {
    const { table, limits, policy, own } = this.#shared;
    let connections = 0;
    limits.reportDead(cpu);
    policy.reportDead(cpu);
    own.reap(cpu);
    const lost = table.reap(cpu, ({ tickets, serverSlot, isDatagrams }) => {
      if (!isDatagrams) connections++;
      for (const ticket of tickets) limits.release(ticket);
      if (serverSlot !== 0) policy.closed(serverSlot);
    });
    return { lost, connections };
  }

  async #replace(cpu: number): Promise<void> {
    if (this.#isStopping) return;
    try {
      await this.#startWorker(cpu);
    } catch (error) {
      this.#events.onMessage?.(`worker ${cpu} cannot be replaced: ${(error as Error).message}`);
      setTimeout(() => void this.#replace(cpu), RESTART_MS_MAX);
      return;
    }
    try {
      await this.#giveListeners(cpu, this.#listeners.all);
      this.#listeners.rest();
    } catch {
      // It has ended meanwhile, or cannot listen: either way its end brings the next. Two for one CPU there must not be.
      await this.#threads.get(cpu)?.terminate();
    }
  }

  async #callAll(call: number): Promise<void> {
    const { calls } = this.#shared;
    await Promise.all([...this.#threads.keys()].map((cpu) => calls.callAsync(cpu, call).catch(() => undefined)));
  }

  #list(): RelayConnection[] {
    const connections: RelayConnection[] = [];
    this.#withRcu(() => this.#shared.table.list((connection) => connections.push(connection)));
    return connections;
  }

  /** What is read meanwhile is not reused. */
  #withRcu<T>(read: () => T): T {
    const { rcu } = this.#shared;
    rcu.online();
    try {
      return read();
    } finally {
      rcu.quiescent();
      rcu.offline();
    }
  }
}

/** Where the proxy itself is: one that listens on every address is on each of the host's. */
function ownEnds(open: readonly OpenListener[]): Endpoint[] {
  const addresses = ["127.0.0.1", "::1", ...ownAddresses()];
  return open.flatMap(({ local }) => {
    if (local.host !== "0.0.0.0" && local.host !== "::") return [local];
    return [
      local,
      ...addresses.map((host): Endpoint => ({ family: host.includes(":") ? 6 : 4, host, port: local.port })),
    ];
  });
}

function endpointName({ family, host, port }: Endpoint): string {
  return family === 0 ? `unix:${host}` : family === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Start a proxy: workers, listeners, and what the configuration says. Rejects with `DATAPLANE_INVALID_CONFIG`, `RELAY_LISTEN`, or the
 * error of a worker that does not start.
 *
 * @public
 */
export async function startProxy(config: RelayConfig, events: ProxyEvents = {}): Promise<RunningProxy> {
  validateRelayConfig(config);
  const proxy = new RunningProxy(config, events);
  await proxy.start();
  return proxy;
}
