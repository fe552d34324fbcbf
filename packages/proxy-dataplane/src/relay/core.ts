import type { PerCpuCounters } from "@x/smp";
import type { ClientLimits } from "../policy/client-limits.ts";
import type { ProcessFacts } from "../policy/config.ts";
import type { ConnectionRequest, ConnectionRoute } from "../policy/policy-engine.ts";
import { Admission } from "./admission.ts";
import { IpProtocol } from "../protocols.ts";
import type { ConnectionTable } from "./connection-table.ts";
import { Count, type RelayCounter } from "./counters.ts";
import type { Endpoint, Engine, Listener, ListenerOwner, RelaySocket } from "./engine.ts";
import type { RelayFailure } from "./failure.ts";
import type { Flow } from "./flow.ts";
import { FlowSet } from "./flow-set.ts";
import type { OwnConnections } from "./own-connections.ts";
import { RelayCommand } from "./request.ts";
import { Resolver, type NameLookup } from "./resolver.ts";
import type { ListenerRuntime, RelayRuntime } from "./runtime.ts";
import { Session } from "./session.ts";
import type { StreamCapture } from "./stream-capture.ts";
import type { TrafficCapture } from "./traffic-capture.ts";
import { UdpForward } from "./udp-forward.ts";
import { takesDatagrams } from "./upstream-association.ts";
import type { Upstreams } from "./upstreams.ts";
import { TimerWheel } from "./timer-wheel.ts";

/** Deadlines are met within this. */
const TICK_MS = 50;

/** What only the host knows of a connection. Answers may come before the call returns, or never for a connection that is over. */
export interface HostFacts {
  /** Where the client wanted to go when the packet filter sent it to the listener. */
  originalDestination(
    kind: "redirect" | "tproxy",
    socket: RelaySocket,
    found: (original: Endpoint | undefined) => void,
  ): void;
  /** The process behind a client on this host, whose connection went to `destination`. */
  processOf(client: Endpoint, destination: Endpoint, found: (process: ProcessFacts | undefined) => void): void;
}

/** What a relay is made of. */
export interface RelayParts {
  readonly engine: Engine;
  readonly table: ConnectionTable;
  readonly own: OwnConnections;
  readonly counters: PerCpuCounters<RelayCounter>;
  readonly cpu: number;
  readonly lookup: NameLookup;
  readonly runtime: RelayRuntime;
  readonly upstreams: Upstreams;
  readonly limits: ClientLimits;
  readonly host: HostFacts;
  /** Wall clock, milliseconds since 1970. */
  readonly wallMs: () => number;
  /** A session is over. */
  readonly onClosed?: ((flow: Flow, failure: RelayFailure) => void) | undefined;
  /** A connection that the proxy has made itself came to a listener. */
  readonly onLoop?: ((listener: ListenerRuntime, to: Endpoint) => void) | undefined;
  readonly onListenError?: ((listener: ListenerRuntime, error: string) => void) | undefined;
  /** Called once in every tick. */
  readonly onTick?: (() => void) | undefined;
}

/** One worker's share of the proxy: its sessions, over an engine that it does not know. */
export class RelayCore {
  readonly engine: Engine;
  readonly table: ConnectionTable;
  readonly wheel: TimerWheel = new TimerWheel(TICK_MS);
  readonly resolver: Resolver;
  readonly upstreams: Upstreams;
  readonly admission: Admission;
  /** Writes what passes; undefined: nobody wants that. */
  capture: TrafficCapture | undefined = undefined;
  readonly #parts: RelayParts;
  readonly #flows = new FlowSet();
  #runtime: RelayRuntime;
  #own: readonly Endpoint[] = [];
  #whenEmpty: (() => void) | undefined = undefined;
  readonly #ticking: Disposable;

  constructor(parts: RelayParts) {
    this.#parts = parts;
    this.#runtime = parts.runtime;
    this.engine = parts.engine;
    this.table = parts.table;
    this.upstreams = parts.upstreams;
    this.admission = new Admission(parts.limits, () => parts.upstreams.policy());
    this.resolver = new Resolver(this.#holding(parts.lookup), () => this.engine.nowMs(), parts.runtime.dns, {
      onHit: () => this.count(Count.dnsHits, 1),
      onLookup: () => this.count(Count.dnsLookups, 1),
      onFailure: () => this.count(Count.dnsFailures, 1),
    });
    this.#ticking = this.engine.every(TICK_MS, () => {
      this.wheel.advance();
      this.#parts.onTick?.();
    });
  }

  /** Open connections and UDP flows of this worker. */
  get size(): number {
    return this.#flows.size;
  }

  get runtime(): RelayRuntime {
    return this.#runtime;
  }

  /** New connections are served by this configuration from now on. */
  configure(runtime: RelayRuntime): void {
    this.#runtime = runtime;
    this.resolver.configure(runtime.dns);
    this.count(Count.configurations, 1);
  }

  /** The ends that the proxy listens on: no client gets there by way of the proxy, or it would call itself. */
  setOwnEndpoints(own: readonly Endpoint[]): void {
    this.#own = own;
  }

  isOwnListener(host: string, port: number): boolean {
    return this.#own.some((own) => own.port === port && (own.host === host || isLoopbackOfAny(own.host, host)));
  }

  /** Who takes the connections of a listener, by the name that it keeps over reloads. */
  listenerOwner(name: string): ListenerOwner {
    const current = (): ListenerRuntime | undefined => this.#runtime.listeners.find((each) => each.name === name);
    let known = current();
    return {
      onAccept: (_listener: Listener, socket: RelaySocket) => {
        if (known?.runtime !== this.#runtime) known = current();
        if (known === undefined) socket.reset();
        else this.#accept(known, socket);
      },
      onListenError: (_listener: Listener, error: string) => {
        if (known !== undefined) this.listenFailed(known, error);
      },
    };
  }

  /** Who takes the datagrams of a listener, by its name; `workers` share it. */
  udpOwner(name: string, workers = 1): UdpForward {
    return new UdpForward(this, workers, () => this.#runtime.listeners.find((each) => each.name === name));
  }

  /** @internal */
  listenFailed(listener: ListenerRuntime, error: string): void {
    this.count(Count.acceptErrors, 1);
    this.#parts.onListenError?.(listener, error);
  }

  /** @internal A connection of the proxy is under way, of which the packet filter may send it the other end. 0: nothing is noted. */
  noteOwn(socket: RelaySocket, to: Endpoint): number {
    return this.#runtime.isTransparent ? this.#parts.own.add(socket.local, to) : 0;
  }

  /** @internal It is over. */
  forgetOwn(entry: number): void {
    this.#parts.own.delete(entry);
  }

  /** @internal Whether a connection that the packet filter has sent is one of the proxy, of any worker. */
  isOwnConnection(listener: ListenerRuntime, client: Endpoint, original: Endpoint): boolean {
    const isOwn = this.#parts.own.has(client, original);
    if (isOwn) this.#parts.onLoop?.(listener, original);
    return isOwn;
  }

  originalDestination(
    listener: ListenerRuntime,
    socket: RelaySocket,
    found: (original: Endpoint | undefined) => void,
  ): void {
    const kind = listener.config.kind === "tproxy" ? "tproxy" : "redirect";
    this.#parts.host.originalDestination(kind, socket, found);
  }

  processOf(client: Endpoint, destination: Endpoint, found: (process: ProcessFacts | undefined) => void): void {
    this.#parts.host.processOf(client, destination, found);
  }

  /** What the policy says of datagrams to a target: they go direct, by the server of a route, or not at all. */
  datagramRoute(runtime: RelayRuntime, request: ConnectionRequest): ConnectionRoute | "direct" | "denied" {
    if (runtime.config.policy === undefined) return "direct";
    let route: ConnectionRoute | undefined = this.upstreams.route(request);
    if (route.action === "direct") return "direct";
    const tried: number[] = [];
    while (route?.server !== undefined) {
      if (takesDatagrams(runtime, route.server)) return route;
      tried.push(route.serverIndex);
      route = this.upstreams.next(request, route, tried);
    }
    return "denied";
  }

  /** What writes a session's bytes down, where that is wanted. */
  captureOf(session: Session, server: RelaySocket): StreamCapture | undefined {
    const { capture } = this;
    if (capture === undefined) return undefined;
    const { request, original, source } = session;
    const isNamed = request.family === 0 && (session.upstreamName !== "" || session.listener.target?.isPath === true);
    if (isNamed) return capture.stream(source, capture.named(request.host, request.port));
    const isConnected = request.family === 0 || request.command === RelayCommand.Bind;
    const { family, host, port } = isConnected ? server.remote : request;
    return capture.stream(source, original ?? { family, host, port });
  }

  count(slot: number, amount: number): void {
    this.#parts.counters.addOn(this.#parts.cpu, slot, amount);
  }

  countFailure(failure: RelayFailure): void {
    this.count(Count.failed, 1);
    if (failure === "loop") this.count(Count.loops, 1);
    if (failure === "denied" || failure === "forbidden-target") this.count(Count.denied, 1);
  }

  /** @internal */
  add(flow: Flow): void {
    this.#flows.add(flow);
  }

  /** @internal A connection or UDP flow is over. */
  closed(flow: Flow, failure: RelayFailure): void {
    if (!this.#flows.delete(flow)) return;
    this.table.close(flow.object);
    if (flow.protocol !== "udp") this.count(Count.closed, 1);
    this.count(Count.clientBytes, flow.clientBytes);
    this.count(Count.serverBytes, flow.serverBytes);
    if (failure === "client-reset" || failure === "server-reset") this.count(Count.resets, 1);
    this.#parts.onClosed?.(flow, failure);
    if (this.#flows.size === 0) this.#whenEmpty?.();
  }

  /** @internal A place in the table for a UDP flow; 0 where there is none. */
  openUdp(client: Endpoint, local: Endpoint, listener: ListenerRuntime): number {
    return this.table.open(client, local, listener.index, this.#parts.wallMs(), IpProtocol.Udp);
  }

  /** End the session with that object, if its id is that; false where there is none. */
  kill(object: number, id: number): boolean {
    const flow = this.#flows.find(object);
    if (flow === undefined || this.table.id(object) !== id) return false;
    flow.kill("killed");
    return true;
  }

  killAll(reason: "killed" | "drained"): void {
    this.#flows.forEach((flow) => flow.kill(reason));
  }

  /** Bring what listings show up to date. */
  publish(): void {
    this.#flows.forEach((flow) => flow.publish());
  }

  /** Call back when nothing is left: at once, or later. */
  whenEmpty(callback: () => void): void {
    if (this.#flows.size === 0) callback();
    else this.#whenEmpty = callback;
  }

  /** Deadlines are met no longer. */
  stop(): void {
    this.#ticking[Symbol.dispose]();
  }

  #accept(listener: ListenerRuntime, socket: RelaySocket): void {
    this.count(Count.accepted, 1);
    // Behind another proxy the client is known only with its header.
    const ticket = listener.config.acceptProxyProtocol === true ? 0 : this.admission.client(socket.remote.host);
    const { remote, local } = socket;
    const object =
      ticket < 0 ? 0 : this.table.open(remote, local, listener.index, this.#parts.wallMs(), IpProtocol.Tcp);
    if (object === 0) {
      this.admission.release(ticket);
      this.count(Count.overLimit, 1);
      this.count(Count.closed, 1);
      socket.reset();
      return;
    }
    this.table.setTickets(object, ticket, 0);
    const session = new Session(this, listener, socket, object);
    session.clientTicket = ticket;
    this.add(session);
    session.start();
  }

  /** A look-up needs the thread's event loop while it is under way. */
  #holding(lookup: NameLookup): NameLookup {
    return (host, callback) => {
      this.engine.hold();
      lookup(host, (addresses, failure) => {
        this.engine.release();
        callback(addresses, failure);
      });
    };
  }
}

/** Every address of 127/8 leads to who listens on all addresses; other addresses of the host are among the own ends. */
function isLoopbackOfAny(own: string, host: string): boolean {
  return (
    (own === "0.0.0.0" || own === "::") &&
    (host.startsWith("127.") || host === own || host === "0.0.0.0" || host === "::")
  );
}
