import type { ConnectionRequest, ConnectionRoute } from "../policy/policy-engine.ts";
import type { ProxyServer } from "../policy/config.ts";
import { serverName } from "../policy/validate.ts";
import type { RelayCore } from "./core.ts";
import { Count } from "./counters.ts";
import type { Endpoint, RelaySocket, SocketOwner, UdpOwner, UdpPort } from "./engine.ts";
import { failureOfErrno, isWorthRetry, type RelayFailure } from "./failure.ts";
import { InputBuffer } from "./input-buffer.ts";
import { Socks5Handshake } from "./outbound.ts";
import { ParsedRequest, RelayCommand } from "./request.ts";
import type { RelayRuntime } from "./runtime.ts";
import { parseSocks5Address, SOCKS5_MAX_MESSAGE, writeSocks5Address } from "./socks5.ts";
import { Timed } from "./timer-wheel.ts";
import { stopOf } from "./way.ts";

const MAX_DATAGRAM = 65_535;
/** Datagrams that wait for the server's answer. */
const MAX_WAITING = 16;
/** What a server may say on the connection beside its answer. */
const MAX_INPUT_BYTES = 1024;

/** Who has asked for an association with a server. */
export interface AssociationOwner {
  /** A target has answered: by the address, or the name, that the server gives it. */
  onTargetDatagram(host: string, port: number, bytes: Uint8Array, from: number, to: number): void;
  /** There is none any more: no server could be asked, or the one that was has ended it. */
  onAssociationEnd(association: UpstreamAssociation, failure: RelayFailure): void;
}

interface Waiting {
  readonly host: string;
  readonly port: number;
  readonly bytes: Uint8Array;
}

const frame = new Uint8Array(MAX_DATAGRAM + SOCKS5_MAX_MESSAGE);
const head = new ParsedRequest();

/** Whether a server takes datagrams: only SOCKS5 has them, and not through another proxy, for that takes none of its own. */
export function takesDatagrams(runtime: RelayRuntime, server: ProxyServer): boolean {
  return server.type === "socks5" && runtime.chainTo(server).length === 1;
}

/**
 * UDP ASSOCIATE at an upstream SOCKS5 server (RFC 1928, 7), as its client. It lasts as long as the connection that asked for it:
 *
 *     proxy ══ TCP: associate ═══════════▶ server       ends with either's end
 *     proxy ── UDP: to target, data ─────▶ its port ──▶ target
 *
 * What is sent before the server has answered waits, as far as there is room. A server that fails before is passed over for the next.
 */
export class UpstreamAssociation extends Timed implements SocketOwner, UdpOwner {
  readonly #core: RelayCore;
  readonly #runtime: RelayRuntime;
  readonly #owner: AssociationOwner;
  readonly #request: ConnectionRequest;
  readonly #object: number;
  readonly #tried: number[] = [];
  readonly #input = new InputBuffer();
  #route: ConnectionRoute;
  #socket: RelaySocket | undefined = undefined;
  #handshake: Socks5Handshake | undefined = undefined;
  #port: UdpPort | undefined = undefined;
  /** Undefined once datagrams can be sent. */
  #waiting: Waiting[] | undefined = [];
  /** Numbers attempts: what comes of one that was given up comes too late. */
  #attempt = 0;
  #isOver = false;

  /** @param object - of the connection or flow in the table that the server is counted for; 0: it is counted for another already */
  constructor(
    core: RelayCore,
    runtime: RelayRuntime,
    object: number,
    request: ConnectionRequest,
    route: ConnectionRoute,
    owner: AssociationOwner,
  ) {
    super();
    this.#core = core;
    this.#runtime = runtime;
    this.#object = object;
    this.#request = request;
    this.#route = route;
    this.#owner = owner;
  }

  /** The server's name. */
  get name(): string {
    const { server } = this.#route;
    return server === undefined ? "" : serverName(server);
  }

  start(): void {
    this.#take(this.#route);
    this.#dial();
  }

  /** Send to a target, an address or a name. False: it is dropped. */
  send(host: string, port: number, bytes: Uint8Array, from: number, to: number): boolean {
    if (this.#isOver) return false;
    if (this.#waiting === undefined) {
      frame[0] = frame[1] = frame[2] = 0;
      const data = writeSocks5Address(frame, 3, host, port);
      frame.set(bytes.subarray(from, to), data);
      this.#port?.send(frame, 0, data + to - from);
      return true;
    }
    if (this.#waiting.length >= MAX_WAITING) return false;
    this.#waiting.push({ host, port, bytes: bytes.slice(from, to) });
    return true;
  }

  /** Nobody needs it any more. The owner is not told. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leave();
    this.#give();
  }

  onConnect(socket: RelaySocket): void {
    this.#handshake = new Socks5Handshake(this.#route.server!, "0.0.0.0", 0, RelayCommand.UdpAssociate);
    this.#core.wheel.set(this, this.#runtime.timeouts.upstreamMs);
    socket.resume();
    this.#handshake.start(socket);
  }

  onData(socket: RelaySocket, bytes: Uint8Array, from: number, to: number): void {
    // What a server says after its answer has no meaning.
    if (this.#handshake === undefined) return;
    if (!this.#input.append(bytes, from, to, MAX_INPUT_BYTES)) return this.#fail("upstream-handshake");
    const state = this.#handshake.advance(socket, this.#input);
    if (state === "more") return;
    if (state !== "open") return this.#fail(state);
    const { bound } = this.#handshake;
    this.#handshake = undefined;
    this.#open(socket, bound);
  }

  onEnd(): void {
    this.#fail("server-gone");
  }

  onDrain(): void {}

  onClose(_socket: RelaySocket, error: string): void {
    this.#socket = undefined;
    this.#fail(this.#handshake === undefined && this.#port === undefined ? failureOfErrno(error) : "server-gone");
  }

  onDeadline(): void {
    this.#fail(this.#handshake === undefined ? "connect-timeout" : "upstream-timeout");
  }

  onDatagram(_port: UdpPort, bytes: Uint8Array, from: number, to: number): void {
    const data = this.#dataOf(bytes, from, to);
    if (data < 0) return this.#core.count(Count.udpDropped, 1);
    this.#owner.onTargetDatagram(head.host, head.port, bytes, data, to);
  }

  onUdpError(): void {
    this.#core.count(Count.udpDropped, 1);
  }

  /** Where the data of a datagram of the server begin, whose target is in `head`; -1: it is none. Fragments are not put together. */
  #dataOf(bytes: Uint8Array, from: number, to: number): number {
    if (to - from < 4 || bytes[from] !== 0 || bytes[from + 1] !== 0 || bytes[from + 2] !== 0) return -1;
    const length = parseSocks5Address(bytes, from + 3, to, head);
    return length <= 0 ? -1 : from + 3 + length;
  }

  #dial(): void {
    const { server } = this.#route;
    if (server === undefined) return this.#fail("no-server");
    const attempt = ++this.#attempt;
    this.#core.wheel.set(this, this.#runtime.timeouts.connectMs);
    const { host, port, family } = stopOf(server);
    if (family !== 0) return this.#connect({ family, host, port });
    this.#core.resolver.resolve(host, (addresses, failure) => {
      if (attempt !== this.#attempt || this.#isOver) return;
      if (addresses.length === 0) return this.#fail(failure === "" ? "name-not-found" : failure);
      this.#connect({ family: addresses[0].family, host: addresses[0].host, port });
    });
  }

  #connect(to: Endpoint): void {
    this.#socket = this.#core.engine.connect(to, this, { speaksFirst: true });
  }

  /** The server takes datagrams at `bound`; one that does not know its address means the one it was asked at. */
  #open(socket: RelaySocket, bound: Endpoint): void {
    const isUnspecified = bound.host === "0.0.0.0" || bound.host === "::";
    const to: Endpoint = isUnspecified ? { ...socket.remote, port: bound.port } : bound;
    if (to.family === 0 || to.port === 0) return this.#fail("upstream-handshake");
    const endpoint: Endpoint = { family: to.family, host: to.family === 6 ? "::" : "0.0.0.0", port: 0 };
    const attempt = this.#attempt;
    const opened = (): void => {
      if (attempt === this.#attempt && !this.#isOver) this.#opened();
    };
    try {
      this.#port = this.#core.engine.udp({ endpoint, connectTo: to }, this, opened);
    } catch {
      this.#fail("unreachable");
    }
  }

  #opened(): void {
    this.#core.wheel.clear(this);
    this.#core.upstreams.succeeded(this.#route);
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const { host, port, bytes } of waiting) this.send(host, port, bytes, 0, bytes.length);
  }

  /** The server is at fault. Datagrams that wait go by another; what was under way is lost, as in a network. */
  #fail(failure: RelayFailure): void {
    if (this.#isOver) return;
    const wasOpen = this.#waiting === undefined;
    const { upstreams } = this.#core;
    this.#leave();
    if (isWorthRetry(failure) && !wasOpen) upstreams.failed(this.#route, this.#runtime.health);
    // One that knows no UDP is none to wait for, and not ill.
    if ((isWorthRetry(failure) || failure === "unsupported") && !wasOpen && this.#retry()) return;
    this.#isOver = true;
    this.#give();
    this.#core.count(Count.udpDropped, this.#waiting?.length ?? 0);
    this.#owner.onAssociationEnd(this, failure);
  }

  #retry(): boolean {
    this.#tried.push(this.#route.serverIndex);
    while (this.#tried.length <= this.#runtime.retries) {
      const route = this.#core.upstreams.next(this.#request, this.#route, this.#tried);
      if (route?.server === undefined) return false;
      if (takesDatagrams(this.#runtime, route.server)) {
        this.#core.count(Count.retries, 1);
        this.#give();
        this.#take(route);
        this.#dial();
        return true;
      }
      this.#tried.push(route.serverIndex);
    }
    return false;
  }

  /** Let go of all that is open. */
  #leave(): void {
    this.#attempt++;
    this.#core.wheel.clear(this);
    this.#socket?.destroy();
    this.#port?.close();
    this.#socket = this.#port = this.#handshake = undefined;
    this.#input.clear();
  }

  /** The server's connection counts; who forgets those of a dead worker finds its slot in the table. */
  #take(route: ConnectionRoute): void {
    this.#route = route;
    if (this.#object === 0) return;
    this.#core.upstreams.opened(route);
    this.#core.table.setServerSlot(this.#object, route.serverSlot);
  }

  #give(): void {
    if (this.#object === 0) return;
    this.#core.upstreams.closed(this.#route);
    this.#core.table.setServerSlot(this.#object, 0);
  }
}
