import type { PerCpuCounters } from "@x/smp";
import type { ConnectionTable } from "./connection-table.ts";
import { Count, type RelayCounter } from "./counters.ts";
import type { Endpoint, Engine, Listener, ListenerOwner, RelaySocket, TunnelOptions } from "./engine.ts";
import type { RelayFailure } from "./failure.ts";
import { Resolver, type NameLookup } from "./resolver.ts";
import type { ListenerRuntime, RelayRuntime } from "./runtime.ts";
import { Session } from "./session.ts";
import type { Upstreams } from "./upstreams.ts";
import { TimerWheel } from "./timer-wheel.ts";

/** Deadlines are met within this. */
const TICK_MS = 50;

/** What a relay is made of. */
export interface RelayParts {
  readonly engine: Engine;
  readonly table: ConnectionTable;
  readonly counters: PerCpuCounters<RelayCounter>;
  readonly cpu: number;
  readonly lookup: NameLookup;
  readonly runtime: RelayRuntime;
  readonly upstreams: Upstreams;
  /** Wall clock, milliseconds since 1970. */
  readonly wallMs: () => number;
  /** A session is over. */
  readonly onClosed?: ((session: Session, failure: RelayFailure) => void) | undefined;
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
  readonly #parts: RelayParts;
  readonly #sessions = new Map<number, Session>();
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

  /** Open sessions of this worker. */
  get size(): number {
    return this.#sessions.size;
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
    return this.#own.some((own) => own.port === port && (own.host === host || isAnyAddress(own.host)));
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
        this.count(Count.acceptErrors, 1);
        if (known !== undefined) this.#parts.onListenError?.(known, error);
      },
    };
  }

  /** Only for what a session attaches to its tunnel. */
  tunnelOptions(_session: Session): TunnelOptions | undefined {
    return undefined;
  }

  count(slot: number, amount: number): void {
    this.#parts.counters.addOn(this.#parts.cpu, slot, amount);
  }

  countFailure(failure: RelayFailure): void {
    this.count(Count.failed, 1);
    if (failure === "denied" || failure === "forbidden-target") this.count(Count.denied, 1);
  }

  /** @internal A session is over. */
  closed(session: Session, failure: RelayFailure): void {
    if (!this.#sessions.delete(session.object)) return;
    this.table.close(session.object);
    this.count(Count.closed, 1);
    this.count(Count.clientBytes, session.clientBytes);
    this.count(Count.serverBytes, session.serverBytes);
    if (failure === "client-reset" || failure === "server-reset") this.count(Count.resets, 1);
    this.#parts.onClosed?.(session, failure);
    if (this.#sessions.size === 0) this.#whenEmpty?.();
  }

  /** End the session with that object, if its id is that; false where there is none. */
  kill(object: number, id: number): boolean {
    const session = this.#sessions.get(object);
    if (session === undefined || this.table.id(object) !== id) return false;
    session.kill("killed");
    return true;
  }

  killAll(reason: "killed" | "drained"): void {
    for (const session of this.#sessions.values()) session.kill(reason);
  }

  /** Bring what listings show up to date. */
  publish(): void {
    for (const session of this.#sessions.values()) session.publish();
  }

  /** Call back when no session is left: at once, or later. */
  whenEmpty(callback: () => void): void {
    if (this.#sessions.size === 0) callback();
    else this.#whenEmpty = callback;
  }

  /** Deadlines are met no longer. */
  stop(): void {
    this.#ticking[Symbol.dispose]();
  }

  #accept(listener: ListenerRuntime, socket: RelaySocket): void {
    this.count(Count.accepted, 1);
    const object = this.table.open(socket.remote, socket.local, listener.index, this.#parts.wallMs());
    if (object === 0) {
      this.count(Count.overLimit, 1);
      socket.reset();
      return;
    }
    const session = new Session(this, listener, socket, object);
    this.#sessions.set(object, session);
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

function isAnyAddress(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
