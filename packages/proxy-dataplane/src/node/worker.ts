import { parentPort } from "node:worker_threads";
import { joinAsCpu } from "@x/smp/node";
import { endpointText } from "../relay/connection-table.ts";
import { RelayCore } from "../relay/core.ts";
import { Count } from "../relay/counters.ts";
import type { Endpoint, Engine } from "../relay/engine.ts";
import { listenEndpoint } from "../relay/endpoints-text.ts";
import { RelayRuntime } from "../relay/runtime.ts";
import { Upstreams } from "../relay/upstreams.ts";
import { accessLine } from "./access-line.ts";
import { AccessLog } from "./access-log.ts";
import { CaptureFile } from "./capture-file.ts";
import { makeEngine, type EngineChoice } from "./choose-engine.ts";
import { hostFacts } from "./host-facts.ts";
import { lookupByNode } from "./lookup.ts";
import { sharesUdpPorts } from "./net-engine.ts";
import { attachShared, WorkerCall, type PublishedConfig, type Shared, type SharedHandles } from "./shared.ts";

/** How often a loop is told of at most. */
const LOOP_MS = 60_000;

/** What the main thread gives a worker. */
export interface WorkerData {
  readonly shared: SharedHandles;
  readonly engine: EngineChoice["name"];
  /** Where the epoll engine notes its descriptors. */
  readonly opened: SharedArrayBuffer;
}

/** A worker of the proxy: it accepts and serves connections by itself, and does what the main thread calls it to do. */
class ProxyWorker {
  readonly #shared: Shared;
  readonly #engine: Engine;
  readonly #core: RelayCore;
  readonly #listeners = new Map<number, { close(): void }>();
  #published: PublishedConfig;
  #log: AccessLog | undefined = undefined;
  #nextLoopMs = 0;
  #capture: CaptureFile | undefined = undefined;

  constructor() {
    const { hal, cpu, data } = joinAsCpu<WorkerData>();
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
    this.#engine = makeEngine(data.engine, new Uint8Array(data.opened));
    this.#published = this.#shared.cell.read();
    this.#core = new RelayCore({
      engine: this.#engine,
      table: this.#shared.table,
      own: this.#shared.own,
      counters: this.#shared.counters,
      cpu,
      lookup: lookupByNode,
      runtime: new RelayRuntime(this.#published.config),
      upstreams: new Upstreams(this.#shared.policy),
      limits: this.#shared.limits,
      host: hostFacts(this.#engine),
      wallMs: Date.now,
      onClosed: (flow, failure) => this.#log?.line(accessLine(flow, failure, Date.now(), cpu)),
      onLoop: (listener, to) => this.#tellLoop(listener.name, to),
      onListenError: (listener, error) => parentPort?.postMessage({ kind: "listen-error", name: listener.name, error }),
      onTick: () => this.#tick(),
    });
    this.#core.setOwnEndpoints(this.#published.own);
    this.#openLog();
    this.#openCapture();
    this.#shared.mailbox.listen();
  }

  #tick(): void {
    this.#log?.flush();
    this.#capture?.flush();
    this.#shared.mailbox.receive();
    this.#shared.rcu.quiescent();
  }

  /** Not of every one: a loop makes many. */
  #tellLoop(name: string, to: Endpoint): void {
    const nowMs = this.#engine.nowMs();
    if (nowMs < this.#nextLoopMs) return;
    this.#nextLoopMs = nowMs + LOOP_MS;
    const error = `the packet filter sends the proxy its own connections (to ${endpointText(to)}): exempt its user there`;
    parentPort?.postMessage({ kind: "loop", name, error });
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
    if (config.pcap !== this.#capture?.path) this.#openCapture();
    return this.#shared.cell.version;
  }

  #openLog(): void {
    void this.#log?.end();
    this.#log = undefined;
    const path = this.#published.config.accessLog;
    if (path === undefined) return;
    const observer = {
      onLines: (lines: number) => this.#core.count(Count.logLines, lines),
      onDropped: (lines: number) => this.#core.count(Count.logDropped, lines),
      hold: () => this.#engine.hold(),
      release: () => this.#engine.release(),
    };
    this.#try("log-error", path, () => (this.#log = new AccessLog(path, observer, () => this.#engine.nowMs())));
  }

  #openCapture(): void {
    void this.#capture?.end();
    this.#capture = this.#core.capture = undefined;
    const path = this.#published.config.pcap;
    if (path === undefined) return;
    this.#try("capture-error", path, () => {
      this.#capture = new CaptureFile(path, {
        onLost: () => this.#core.count(Count.captureLost, 1),
        onError: (error) => parentPort?.postMessage({ kind: "capture-error", name: path, error }),
        hold: () => this.#engine.hold(),
        release: () => this.#engine.release(),
      });
      this.#core.capture = this.#capture.traffic;
    });
  }

  /** A file that cannot be opened stops nothing. */
  #try(kind: string, name: string, open: () => void): void {
    try {
      open();
    } catch (error) {
      parentPort?.postMessage({ kind, name, error: (error as NodeJS.ErrnoException).code });
    }
  }

  #listen(slot: number, fd: number): number {
    const index = this.#published.slots.indexOf(slot);
    const listener = this.#core.runtime.listeners[index];
    const endpoint = listener === undefined ? undefined : listenEndpoint(listener.config.listen);
    if (endpoint === undefined) return 0;
    // A reload and the start of this worker may both have brought it.
    this.#listeners.get(slot)?.close();
    if (listener.config.kind === "udp") this.#listeners.set(slot, this.#bindUdp(endpoint, fd, listener.name));
    else
      this.#listeners.set(
        slot,
        this.#engine.listen(
          { endpoint, fd, isTransparent: listener.config.kind === "tproxy" },
          this.#core.listenerOwner(listener.name),
        ),
      );
    return 1;
  }

  #bindUdp(endpoint: Endpoint, how: number, name: string): { close(): void } {
    const isBound = this.#engine.name === "epoll";
    const isShared = isBound || sharesUdpPorts();
    const options = isBound ? { endpoint, fd: how } : { endpoint: { ...endpoint, port: how }, isShared };
    const owner = this.#core.udpOwner(name, isShared ? this.#shared.hal.possibleCpus - 1 : 1);
    const port = this.#engine.udp(options, owner, () => (owner.isBound = true));
    return {
      close: () => {
        port.close();
        owner.end();
      },
    };
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
      void Promise.all([this.#log?.end(), this.#capture?.end()]).then(() => {
        this.#core.stop();
        this.#shared.rcu.offline();
        process.exit(0);
      });
    });
    return 1;
  }
}

void new ProxyWorker();
