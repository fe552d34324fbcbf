import { RelayState } from "./connection-table.ts";
import type { RelayCore } from "./core.ts";
import { Count } from "./counters.ts";
import type { ConnectionRequest, ConnectionRoute } from "../policy/policy-engine.ts";
import type { Endpoint, UdpOwner, UdpPort } from "./engine.ts";
import type { RelayFailure } from "./failure.ts";
import type { Flow } from "./flow.ts";
import { ParsedRequest } from "./request.ts";
import type { ListenerRuntime, RelayRuntime } from "./runtime.ts";
import { Timed } from "./timer-wheel.ts";
import { UpstreamAssociation, type AssociationOwner } from "./upstream-association.ts";

/** Datagrams of a flow that wait while its target's name is looked up and its port is bound. */
const MAX_WAITING = 16;

/**
 * A listener that sends datagrams on to one target. Each client end has a flow, with a port of its own towards the target, which
 * takes answers from the target alone:
 *
 *     client a ──▶ ┌──────────┐ flow a: port 40001 ──▶ ┌────────┐
 *     client b ──▶ │ listener │ flow b: port 40002 ──▶ │ target │
 *                  └──────────┘                        └────────┘
 */
export class UdpForward implements UdpOwner {
  readonly core: RelayCore;
  /** Set by who binds the port: an error before is one of binding. */
  isBound = false;
  readonly #workers: number;
  readonly #current: () => ListenerRuntime | undefined;
  readonly #flows = new Map<string, UdpFlow>();

  constructor(core: RelayCore, workers: number, current: () => ListenerRuntime | undefined) {
    this.core = core;
    this.#workers = workers;
    this.#current = current;
  }

  onDatagram(port: UdpPort, bytes: Uint8Array, from: number, to: number, peer: Endpoint): void {
    this.core.count(Count.udpDatagramsIn, 1);
    const flow = this.#flows.get(keyOf(peer)) ?? this.#open(port, peer);
    if (flow === undefined) this.core.count(Count.udpDropped, 1);
    else flow.fromClient(bytes, from, to);
  }

  onUdpError(_port: UdpPort, error: string): void {
    if (this.isBound) return this.core.count(Count.udpDropped, 1);
    const listener = this.#current();
    if (listener !== undefined) this.core.listenFailed(listener, error);
  }

  /** The listener is gone, and with it the way back to clients. */
  end(): void {
    for (const flow of this.#flows.values()) flow.kill("drained");
  }

  /** @internal A flow is over. */
  forget(flow: UdpFlow): void {
    this.#flows.delete(keyOf(flow.source));
  }

  #open(port: UdpPort, peer: Endpoint): UdpFlow | undefined {
    const listener = this.#current();
    if (listener === undefined) return undefined;
    const { core } = this;
    // The system spreads clients evenly: so are the flows that the listener may have.
    const isFull = this.#flows.size >= Math.ceil(listener.runtime.udpFlows / this.#workers);
    const ticket = isFull ? -1 : core.admission.client(peer.host);
    const object = ticket < 0 ? 0 : core.openUdp(peer, port.local, listener);
    if (object === 0) {
      core.count(Count.overLimit, 1);
      core.admission.release(ticket);
      return undefined;
    }
    const client: Endpoint = { family: peer.family, host: peer.host, port: peer.port };
    const flow = new UdpFlow({ forward: this, listener, near: port, client, object, ticket });
    this.#flows.set(keyOf(client), flow);
    core.add(flow);
    flow.start();
    return flow;
  }
}

function keyOf({ host, port }: Endpoint): string {
  return `${host} ${port}`;
}

interface UdpFlowParts {
  readonly forward: UdpForward;
  readonly listener: ListenerRuntime;
  readonly near: UdpPort;
  readonly client: Endpoint;
  readonly object: number;
  readonly ticket: number;
}

/** What one client end sends, and is answered. It ends when nothing has passed for a time. */
class UdpFlow extends Timed implements Flow, UdpOwner, AssociationOwner {
  readonly core: RelayCore;
  readonly listener: ListenerRuntime;
  readonly runtime: RelayRuntime;
  readonly object: number;
  place = -1;
  readonly protocol = "udp";
  readonly source: Endpoint;
  readonly user = "";
  readonly hostName = "";
  upstreamName = "";
  readonly request: ParsedRequest = new ParsedRequest();
  readonly startMs: number;
  connectedMs = 0;
  clientBytes = 0;
  serverBytes = 0;
  readonly #forward: UdpForward;
  readonly #near: UdpPort;
  readonly #ticket: number;
  #far: UdpPort | undefined = undefined;
  /** By way of a server, in place of `#far`. */
  #association: UpstreamAssociation | undefined = undefined;
  #target: Endpoint | undefined = undefined;
  /** What came before there was a way on; undefined once there is. */
  #waiting: Uint8Array[] | undefined = [];
  #activeMs: number;
  #isDenied = false;
  #isOver = false;

  constructor({ forward, listener, near, client, object, ticket }: UdpFlowParts) {
    super();
    this.#forward = forward;
    this.core = forward.core;
    this.listener = listener;
    this.runtime = listener.runtime;
    this.#near = near;
    this.source = client;
    this.object = object;
    this.#ticket = ticket;
    this.startMs = this.#activeMs = this.core.engine.nowMs();
    this.core.table.setTickets(object, ticket, 0);
    this.core.table.setState(object, RelayState.Datagrams);
  }

  /** Find the target, unless a rule forbids it. */
  start(): void {
    const { target } = this.listener;
    if (target === undefined) return this.#end("internal");
    this.request.host = target.host;
    this.request.port = target.port;
    this.request.family = target.family;
    this.core.count(Count.udpFlows, 1);
    this.core.table.describe(this.object, this.request, "", "");
    this.core.wheel.set(this, this.runtime.timeouts.udpIdleMs);
    // A refused flow stays and swallows what comes: it is judged, and logged, once.
    const { host: client, port: clientPort } = this.source;
    const ends = { client, clientPort, destination: target.host, port: target.port };
    const request: ConnectionRequest = { ...ends, protocol: "udp" };
    const route = this.core.datagramRoute(this.runtime, request);
    this.#isDenied = route === "denied";
    if (route === "denied") return this.core.countFailure("denied");
    if (route !== "direct") return this.#associate(request, route);
    if (target.family !== 0) return this.#open({ family: target.family, host: target.host, port: target.port });
    this.core.resolver.resolve(target.host, (addresses, failure) => {
      if (this.#isOver) return;
      if (failure !== "" || addresses.length === 0) return this.#end(failure === "" ? "name-not-found" : failure);
      const { family, host } = addresses[0];
      this.#open({ family, host, port: target.port });
    });
  }

  fromClient(bytes: Uint8Array, from: number, to: number): void {
    if (this.#isOver) return;
    this.#activeMs = this.core.engine.nowMs();
    const waiting = this.#waiting;
    if (waiting === undefined) return this.#send(bytes, from, to);
    if (this.#isDenied || waiting.length >= MAX_WAITING) return this.core.count(Count.udpDropped, 1);
    waiting.push(bytes.slice(from, to));
  }

  onDatagram(_port: UdpPort, bytes: Uint8Array, from: number, to: number): void {
    this.#fromTarget(bytes, from, to);
  }

  #fromTarget(bytes: Uint8Array, from: number, to: number): void {
    this.#activeMs = this.core.engine.nowMs();
    if (!this.#maySpend(to - from)) return;
    this.serverBytes += to - from;
    if (this.#target !== undefined) this.core.capture?.datagram(this.source, this.#target, 1, bytes, from, to);
    this.#near.send(bytes, from, to, this.source);
  }

  /** The target refuses; the client may try again, as without a proxy. */
  onUdpError(): void {
    this.core.count(Count.udpDropped, 1);
  }

  /** By way of a server: from the target alone, as without. A server may know the target's address where the listener has a name. */
  onTargetDatagram(host: string, port: number, bytes: Uint8Array, from: number, to: number): void {
    const { request } = this;
    if (port !== request.port || (request.family !== 0 && host !== request.host))
      return this.core.count(Count.udpDropped, 1);
    this.#fromTarget(bytes, from, to);
  }

  /** The client may try again; then a new flow asks for a new one. */
  onAssociationEnd(_association: UpstreamAssociation, failure: RelayFailure): void {
    this.core.countFailure(failure);
    this.#end(failure);
  }

  onDeadline(): void {
    const leftMs = this.#activeMs + this.runtime.timeouts.udpIdleMs - this.core.engine.nowMs();
    if (leftMs > 0) this.core.wheel.set(this, leftMs);
    else this.#end(this.#isDenied ? "denied" : "");
  }

  kill(reason: "killed" | "drained" | "internal"): void {
    this.#end(reason);
  }

  publish(): void {
    this.core.table.progress(this.object, this.clientBytes, this.serverBytes);
  }

  #open(target: Endpoint): void {
    this.#target = target;
    const endpoint: Endpoint = { family: target.family, host: target.family === 6 ? "::" : "0.0.0.0", port: 0 };
    try {
      this.#far = this.core.engine.udp({ endpoint, connectTo: target }, this, () => this.#opened());
    } catch {
      this.#end("internal");
    }
  }

  #associate(request: ConnectionRequest, route: ConnectionRoute): void {
    const { core, runtime, object } = this;
    const { host, port, family } = this.request;
    this.#target = family === 0 ? core.capture?.named(host, port) : { family, host, port };
    this.#association = new UpstreamAssociation(core, runtime, object, request, route, this);
    this.upstreamName = this.#association.name;
    core.table.describe(object, this.request, this.upstreamName, "");
    // What comes from now on waits there.
    this.#opened();
    this.#association.start();
  }

  #opened(): void {
    if (this.#isOver) return;
    this.connectedMs = this.core.engine.nowMs();
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const bytes of waiting) this.#send(bytes, 0, bytes.length);
  }

  #send(bytes: Uint8Array, from: number, to: number): void {
    if (!this.#maySpend(to - from)) return;
    this.clientBytes += to - from;
    this.core.count(Count.udpDatagramsOut, 1);
    if (this.#target !== undefined) this.core.capture?.datagram(this.source, this.#target, 0, bytes, from, to);
    const association = this.#association;
    if (association === undefined) this.#far?.send(bytes, from, to);
    else if (!association.send(this.request.host, this.request.port, bytes, from, to))
      this.core.count(Count.udpDropped, 1);
  }

  /** Nothing waits here: what is over the limit of bytes is dropped. */
  #maySpend(bytes: number): boolean {
    const { admission } = this.core;
    // A debt must not grow by what was dropped for it, or who sends too much would not be served any more at all.
    if (this.#ticket > 0 && admission.spend(this.#ticket, 0, 0) > 0) {
      this.core.count(Count.udpDropped, 1);
      return false;
    }
    if (this.#ticket > 0) admission.spend(this.#ticket, 0, bytes);
    return true;
  }

  #end(failure: RelayFailure): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.core.wheel.clear(this);
    this.#far?.close();
    this.#association?.close();
    this.#forward.forget(this);
    this.core.admission.release(this.#ticket);
    this.core.closed(this, failure);
  }
}
