import { parentPort } from "node:worker_threads";
import { joinAsCpu } from "@x/smp/node";
import { RelayCore } from "../relay/core.ts";
import { Count } from "../relay/counters.ts";
import type { Engine, Listener } from "../relay/engine.ts";
import { listenEndpoint } from "../relay/config-validate.ts";
import { RelayRuntime } from "../relay/runtime.ts";
import { Upstreams } from "../relay/upstreams.ts";
import { accessLine } from "./access-line.ts";
import { AccessLog } from "./access-log.ts";
import { chooseEngine } from "./choose-engine.ts";
import { lookupByNode } from "./lookup.ts";
import { attachShared, WorkerCall, type PublishedConfig, type Shared, type SharedHandles } from "./shared.ts";

/** What the main thread gives a worker. */
export interface WorkerData {
  readonly shared: SharedHandles;
  readonly engine: "auto" | "net";
}

/** A worker of the proxy: it accepts and serves connections by itself, and does what the main thread calls it to do. */
class ProxyWorker {
  readonly #cpu: number;
  readonly #shared: Shared;
  readonly #engine: Engine;
  readonly #core: RelayCore;
  readonly #listeners = new Map<number, Listener>();
  #published: PublishedConfig;
  #log: AccessLog | undefined = undefined;

  constructor() {
    const { hal, cpu, data } = joinAsCpu<WorkerData>();
    this.#cpu = cpu;
    const calls: Record<number, (a: number, b: number) => number> = {
      [WorkerCall.Configure]: () => this.#configure(),
      [WorkerCall.Listen]: (slot, fd) => this.#listen(slot, fd),
      [WorkerCall.Kill]: (object, id) => (this.#core.kill(object, id >>> 0) ? 1 : 0),
      [WorkerCall.StopListening]: () => this.#stopListening(),
      [WorkerCall.Publish]: () => this.#publish(),
      [WorkerCall.KillAll]: () => this.#killAll(),
      [WorkerCall.ReopenLog]: () => this.#reopenLog(),
      [WorkerCall.Stop]: () => this.#stop(),
    };
    const functions = Object.keys(calls).map(
      (key) => (_from: number, a: number, b: number) => calls[Number(key)](a, b),
    );
    this.#shared = attachShared(hal, data.shared, functions);
    this.#shared.rcu.online();
    this.#engine = chooseEngine(data.engine);
    this.#published = this.#shared.cell.read();
    this.#core = new RelayCore({
      engine: this.#engine,
      table: this.#shared.table,
      counters: this.#shared.counters,
      cpu,
      lookup: lookupByNode,
      runtime: new RelayRuntime(this.#published.config),
      upstreams: new Upstreams(this.#shared.policy),
      wallMs: Date.now,
      onClosed: (session, failure) => this.#log?.line(accessLine(session, failure, Date.now(), cpu)),
      onListenError: (listener, error) => parentPort?.postMessage({ kind: "listen-error", name: listener.name, error }),
      onTick: () => this.#tick(),
    });
    this.#core.setOwnEndpoints(this.#published.own);
    this.#openLog();
    this.#shared.mailbox.listen();
  }

  #tick(): void {
    this.#log?.flush();
    this.#shared.mailbox.receive();
    this.#shared.rcu.quiescent();
  }

  #configure(): number {
    this.#published = this.#shared.cell.read();
    const { config, slots, own } = this.#published;
    this.#core.configure(new RelayRuntime(config));
    this.#core.setOwnEndpoints(own);
    for (const [slot, listener] of this.#listeners) {
      if (slots.includes(slot)) continue;
      listener.close();
      this.#listeners.delete(slot);
    }
    if (config.accessLog !== this.#log?.path) this.#openLog();
    return this.#shared.cell.version;
  }

  #openLog(): void {
    void this.#log?.end();
    this.#log = undefined;
    const path = this.#published.config.accessLog;
    if (path === undefined) return;
    const { counters } = this.#shared;
    const observer = {
      onLines: (lines: number) => counters.addOn(this.#cpu, Count.logLines, lines),
      onDropped: (lines: number) => counters.addOn(this.#cpu, Count.logDropped, lines),
      hold: () => this.#engine.hold(),
      release: () => this.#engine.release(),
    };
    try {
      this.#log = new AccessLog(path, observer, () => this.#engine.nowMs());
    } catch (error) {
      parentPort?.postMessage({ kind: "log-error", name: path, error: (error as NodeJS.ErrnoException).code });
    }
  }

  #listen(slot: number, fd: number): number {
    const index = this.#published.slots.indexOf(slot);
    const listener = this.#core.runtime.listeners[index];
    const endpoint = listener === undefined ? undefined : listenEndpoint(listener.config.listen);
    if (endpoint === undefined) return 0;
    const owner = this.#core.listenerOwner(listener.name);
    this.#listeners.set(slot, this.#engine.listen({ endpoint, ...(fd >= 0 ? { fd } : {}) }, owner));
    return 1;
  }

  #stopListening(): number {
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
    return this.#core.size;
  }

  #publish(): number {
    this.#core.publish();
    return this.#core.size;
  }

  #killAll(): number {
    const { size } = this.#core;
    this.#core.killAll("drained");
    return size;
  }

  #reopenLog(): number {
    this.#log?.reopen();
    return this.#log === undefined ? 0 : 1;
  }

  /** Answer first; then write the log, and end. */
  #stop(): number {
    this.#stopListening();
    this.#killAll();
    setImmediate(() => {
      void (this.#log?.end() ?? Promise.resolve()).then(() => {
        this.#core.stop();
        this.#shared.rcu.offline();
        process.exit(0);
      });
    });
    return 1;
  }
}

void new ProxyWorker();
