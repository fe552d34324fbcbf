import { Bind } from "./bind.ts";
import type { ProcessFacts } from "../policy/config.ts";
import type { StreamCapture } from "./stream-capture.ts";
import { RelayState } from "./connection-table.ts";
import { Connector } from "./connector.ts";
import { Count } from "./counters.ts";
import type { RelayCore } from "./core.ts";
import type { Endpoint, RelaySocket, SocketOwner, Tunnel, TunnelOptions, TunnelOwner, TunnelSide } from "./engine.ts";
import { Facts } from "./facts.ts";
import { failureOfErrno, type RelayFailure } from "./failure.ts";
import type { Flow } from "./flow.ts";
import { HTTP_MAX_HEAD } from "./http-head.ts";
import type { Inbound } from "./inbound.ts";
import { InputBuffer } from "./input-buffer.ts";
import type { ListenerRuntime, RelayRuntime } from "./runtime.ts";
import { Phase, type CommandHandler } from "./phase.ts";
import { takeProxyHeader, PROXY_MAX_HEADER, type ProxyHeader } from "./proxy-protocol.ts";
import { headerFor } from "./proxy-protocol-write.ts";
import { ParsedRequest, RelayCommand } from "./request.ts";
import { Timed } from "./timer-wheel.ts";
import { UdpAssociation } from "./udp-association.ts";

/** After a refusal the client gets this long to read it before the connection is reset. */
const LINGER_MS = 1000;
/** What a client may send ahead while its first bytes are looked at: what is looked at, and one read more. */
const MAX_AHEAD_BYTES = 1 << 19;
/** A request that is longer is none. */
const MAX_REQUEST_BYTES = PROXY_MAX_HEADER + HTTP_MAX_HEAD;

/**
 * A client's connection from accepting to the end:
 *
 *     ProxyHeader ─▶ Request ─▶ Facts ─▶ Connecting ─▶ Upstream ─▶ Relaying ─▶ Closed
 *                       │                    │▲            │                      ▲
 *                       │                    └┴── retry ───┤                      │
 *                       ├─▶ Command ───────────────────────┼──────────────────────┤
 *                       └─────────▶ Lingering ◀────────────┘──────────────────────┘
 */
export class Session extends Timed implements SocketOwner, TunnelOwner, Flow {
  readonly core: RelayCore;
  /** The configuration of the moment when the client connected; a reload does not touch it. */
  readonly runtime: RelayRuntime;
  readonly listener: ListenerRuntime;
  readonly client: RelaySocket;
  readonly request: ParsedRequest = new ParsedRequest();
  readonly input: InputBuffer = new InputBuffer();
  /** The connection's object in the table of all. */
  readonly object: number;
  place = -1;
  readonly startMs: number;
  inbound: Inbound | undefined;
  /** The inbound protocol's state. */
  step = 0;
  /** Goes to the target before anything else. */
  preface: Uint8Array | undefined = undefined;
  /** Whom the client has proved to be. */
  user = "";
  /** What a header of the PROXY protocol said of the client. */
  proxied: ProxyHeader | undefined = undefined;
  /** Where the client wanted to go when the packet filter sent it here. */
  original: Endpoint | undefined = undefined;
  hostName = "";
  /** Who on this host the client is, where a rule asks for it. */
  process: ProcessFacts | undefined = undefined;
  phase: Phase;
  server: RelaySocket | undefined = undefined;
  connectedMs = 0;
  clientBytes = 0;
  serverBytes = 0;
  clientTicket = 0;
  userTicket = 0;
  readonly #facts = new Facts(this);
  readonly #connector = new Connector(this);
  #tunnel: Tunnel | undefined = undefined;
  #capture: StreamCapture | undefined = undefined;
  #command: CommandHandler | undefined = undefined;
  #failure: RelayFailure = "";
  #halfClosed = false;

  constructor(core: RelayCore, listener: ListenerRuntime, client: RelaySocket, object: number) {
    super();
    this.core = core;
    this.runtime = listener.runtime;
    this.listener = listener;
    this.client = client;
    this.object = object;
    this.startMs = core.engine.nowMs();
    this.inbound = listener.inbound;
    this.phase = listener.config.acceptProxyProtocol === true ? Phase.ProxyHeader : Phase.Request;
    client.owner = this;
  }

  start(): void {
    this.setDeadline(this.runtime.timeouts.handshakeMs);
    if (this.listener.isTransparent) this.#facts.findOriginal();
    else if (this.phase === Phase.Request && this.listener.target !== undefined) this.#requestTarget();
    else this.client.resume();
  }

  /** The client's address, as a header of the PROXY protocol may say. */
  get source(): Endpoint {
    return this.proxied?.source ?? this.client.remote;
  }

  /** What the client speaks, or how it was taken. */
  get protocol(): string {
    return this.inbound?.name ?? this.listener.config.kind;
  }

  /** The servers on the way to the target; "" for a direct connection. */
  get upstreamName(): string {
    return this.#connector.way?.name ?? "";
  }

  // What inbound protocols call.

  authenticate(user: string, password: string): boolean {
    if (!this.listener.authenticates) return true;
    const holds = this.runtime.passwordHolds(user, password);
    if (holds) this.user = user;
    else this.core.count(Count.authenticationFailures, 1);
    return holds;
  }

  /** `request` is complete. */
  requested(): void {
    const { request } = this;
    this.client.pause();
    if (request.port === 0 && request.command === RelayCommand.Connect) return this.fail("malformed-request");
    if (!this.#admitUser()) return this.fail("limit");
    switch (request.command) {
      case RelayCommand.Bind:
        return this.#takeCommand(new Bind(this));
      case RelayCommand.UdpAssociate:
        return this.#takeCommand(new UdpAssociation(this));
      default:
        return this.#facts.learn();
    }
  }

  /** The request is not served. */
  fail(failure: RelayFailure): void {
    if (this.phase >= Phase.Lingering) return;
    this.#failure = failure;
    this.core.countFailure(failure);
    this.#abandonServer();
    this.#command?.dispose();
    this.#command = undefined;
    const { inbound } = this;
    if (inbound === undefined || this.listener.target !== undefined || this.#facts.isAnswered)
      return this.close(failure, true);
    inbound.fail(this, failure);
    this.#linger();
  }

  /** The end of the connection to the target, for replies; undefined before there is one. */
  boundEndpoint(): Endpoint | undefined {
    return this.server?.local;
  }

  // What happens to the sockets before they are joined.

  onData(socket: RelaySocket, bytes: Uint8Array, from: number, to: number): void {
    if (socket === this.server) return this.#connector.way?.onServerData(bytes, from, to);
    if (socket !== this.client) return;
    if (this.phase === Phase.Command) return this.#command?.onClientData(bytes, from, to);
    if (this.phase > Phase.Connecting) return;
    if (!this.input.append(bytes, from, to, MAX_AHEAD_BYTES)) return this.fail("malformed-request");
    if (this.phase === Phase.Facts) return this.#facts.onInput();
    this.#advance();
    if (this.phase <= Phase.Request && this.input.length > MAX_REQUEST_BYTES) this.fail("malformed-request");
  }

  onEnd(socket: RelaySocket): void {
    if (socket === this.server) return this.serverFailed("server-gone");
    if (socket !== this.client) return;
    // A client that ends before its request, or the connection that a command lives by: nothing more will come of it.
    if (this.phase === Phase.Lingering) return this.close(this.#failure, false);
    if (this.phase === Phase.Facts) return this.#facts.onInputEnd();
    if (this.phase === Phase.Command || this.phase <= Phase.Request) return this.close("client-gone", false);
  }

  onDrain(): void {}

  onConnect(socket: RelaySocket): void {
    this.#connector.onDialed(socket);
  }

  onClose(socket: RelaySocket, error: string): void {
    if (socket === this.client) {
      this.close(this.phase === Phase.Lingering ? this.#failure : error === "" ? "client-gone" : "client-reset", true);
    } else if (socket === this.server) {
      this.server = undefined;
      this.#connector.forgetOwn();
      this.serverFailed(this.phase === Phase.Upstream ? "server-gone" : failureOfErrno(error));
    }
  }

  // Connecting.

  /** All is known that rules ask for. */
  connectAsRuled(): void {
    this.#connector.start();
  }

  /** An attempt to connect begins. */
  beginConnecting(upstream: string): void {
    this.phase = Phase.Connecting;
    this.core.table.setState(this.object, RelayState.Connecting);
    this.#describe(upstream);
    this.setDeadline(this.runtime.timeouts.connectMs);
  }

  onServerConnected(socket: RelaySocket): void {
    this.server = socket;
    socket.owner = this;
    const { way } = this.#connector;
    if (way === undefined) return this.#established();
    this.phase = Phase.Upstream;
    this.core.table.setState(this.object, RelayState.UpstreamHandshake);
    this.setDeadline(this.runtime.timeouts.upstreamMs);
    way.start(socket);
  }

  /** A server of the way, or the target of a direct connection, is at fault. */
  serverFailed(failure: RelayFailure): void {
    if (this.phase >= Phase.Relaying) return;
    this.#abandonServer();
    if (!this.#connector.retry(failure)) this.fail(failure);
  }

  /** The last server of the way has opened it. */
  onWayOpen(): void {
    this.server?.pause();
    this.#established();
  }

  // Relaying.

  onHalfClose(_tunnel: Tunnel, side: TunnelSide): void {
    this.#halfClosed = true;
    this.#capture?.end(side);
    this.core.table.setState(this.object, RelayState.HalfClosed);
    this.setDeadline(this.runtime.timeouts.halfClosedMs);
  }

  onTunnelEnd(_tunnel: Tunnel, side: TunnelSide, error: string): void {
    this.#capture?.close(side, error !== "");
    this.close(error === "" ? "" : side === 0 ? "client-reset" : "server-reset", false);
  }

  onDeadline(): void {
    switch (this.phase) {
      case Phase.ProxyHeader:
      case Phase.Request:
        this.core.count(Count.handshakeTimeouts, 1);
        return this.fail("handshake-timeout");
      case Phase.Facts:
        return this.#facts.onDeadline();
      case Phase.Connecting:
        this.#abandonServer();
        return this.#connector.onDialFailed("connect-timeout");
      case Phase.Upstream:
        return this.serverFailed("upstream-timeout");
      case Phase.Relaying:
        return this.#lookWhetherIdle();
      case Phase.Command:
        return this.#command?.onDeadline();
      default:
        return this.close(this.#failure, true);
    }
  }

  /** End at once, for a reason from outside. */
  kill(reason: "killed" | "drained" | "internal"): void {
    this.close(reason, true);
  }

  /** Bring what listings show up to date. */
  publish(): void {
    const { clientBytes = 0, serverBytes = 0 } = this.#tunnel ?? {};
    // What came before the tunnel was counted here.
    this.core.table.progress(this.object, this.clientBytes + clientBytes, this.serverBytes + serverBytes);
  }

  /** The end, whatever came before. */
  close(failure: RelayFailure, isAbrupt: boolean): void {
    if (this.phase === Phase.Closed) return;
    this.phase = Phase.Closed;
    this.core.wheel.clear(this);
    this.#abandonServer();
    this.#connector.forgetOwn();
    this.#connector.way?.end();
    this.#command?.dispose();
    this.#capture?.close(0, true);
    this.core.admission.release(this.clientTicket);
    this.core.admission.release(this.userTicket);
    this.clientBytes += this.#tunnel?.clientBytes ?? 0;
    this.serverBytes += this.#tunnel?.serverBytes ?? 0;
    if (this.#tunnel !== undefined) this.#tunnel.reset();
    else if (isAbrupt) this.client.reset();
    else this.client.destroy();
    this.#tunnel = undefined;
    this.core.closed(this, failure);
  }

  /** Join the client's socket with another, after what has come too early. */
  join(server: RelaySocket): void {
    this.server = undefined;
    this.phase = Phase.Relaying;
    this.connectedMs = this.core.engine.nowMs();
    this.core.count(Count.relayed, 1);
    this.core.table.setState(this.object, RelayState.Relaying);
    const { preface, input } = this;
    const capture = this.core.captureOf(this, server);
    this.#capture = capture;
    this.#connector.way?.sendEarly(this.client, capture);
    if (preface !== undefined) {
      capture?.onBytes(0, preface, 0, preface.length);
      server.write(preface, 0, preface.length);
    }
    if (input.length > 0) {
      capture?.onBytes(0, input.bytes, input.from, input.to);
      server.write(input.bytes, input.from, input.to);
    }
    this.clientBytes += input.length + (preface?.length ?? 0);
    this.preface = undefined;
    input.clear();
    this.setDeadline(this.runtime.timeouts.idleMs);
    this.#tunnel = this.core.engine.join(this.client, server, this, this.#tunnelOptions());
  }

  #advance(): void {
    if (this.phase === Phase.ProxyHeader && !this.#readProxyHeader()) return;
    if (this.phase !== Phase.Request) return;
    if (this.input.length === 0 && this.listener.target === undefined) return;
    if (this.listener.target !== undefined) return this.#requestTarget();
    this.inbound ??= this.runtime.inboundOf(this.input.bytes[this.input.from], this.listener.config.kind);
    if (this.inbound === undefined) return this.close("malformed-request", true);
    this.inbound.advance(this);
  }

  #readProxyHeader(): boolean {
    const header = takeProxyHeader(this.input);
    if (header === "malformed") this.close("malformed-request", true);
    if (typeof header === "string") return false;
    this.proxied = header;
    this.phase = Phase.Request;
    return this.#admitProxied();
  }

  #requestTarget(): void {
    const { target } = this.listener;
    if (target === undefined) return;
    const { request } = this;
    request.host = target.host;
    request.port = target.port;
    request.family = target.family;
    this.client.pause();
    this.#facts.learn();
  }

  #tunnelOptions(): TunnelOptions | undefined {
    const limiter = this.core.admission.limiter(this.clientTicket, this.userTicket);
    return limiter === undefined && this.#capture === undefined ? undefined : { limiter, tap: this.#capture };
  }

  /** The client behind another proxy is known only now. */
  #admitProxied(): boolean {
    this.clientTicket = this.core.admission.client(this.source.host);
    return this.#keepTicket(this.clientTicket) || (this.close("limit", true), false);
  }

  #admitUser(): boolean {
    this.userTicket = this.core.admission.user(this.user);
    return this.#keepTicket(this.userTicket);
  }

  #keepTicket(ticket: number): boolean {
    if (ticket < 0) this.core.count(Count.overLimit, 1);
    this.core.table.setTickets(this.object, this.clientTicket, this.userTicket);
    return ticket >= 0;
  }

  #takeCommand(command: CommandHandler & { start(): void }): void {
    this.phase = Phase.Command;
    this.#command = command;
    this.core.table.setState(this.object, RelayState.Waiting);
    this.#describe("");
    command.start();
  }

  #describe(upstream: string): void {
    this.core.table.describe(this.object, this.request, upstream, this.user);
  }

  #established(): void {
    const { server } = this;
    if (server === undefined) return;
    const version = this.listener.config.sendProxyProtocol;
    if (version !== undefined) {
      const header = headerFor(version, this.source, this.proxied?.destination ?? this.original ?? this.client.local);
      server.write(header, 0, header.length);
    }
    if (!this.#facts.isAnswered) this.inbound?.succeed(this);
    this.join(server);
  }

  #lookWhetherIdle(): void {
    const tunnel = this.#tunnel;
    if (tunnel === undefined) return;
    this.publish();
    const limitMs = this.#halfClosed ? this.runtime.timeouts.halfClosedMs : this.runtime.timeouts.idleMs;
    const leftMs = tunnel.activeMs + limitMs - this.core.engine.nowMs();
    if (leftMs > 0) return this.setDeadline(leftMs);
    this.core.count(this.#halfClosed ? Count.halfClosedTimeouts : Count.idleTimeouts, 1);
    this.close(this.#halfClosed ? "half-closed-timeout" : "idle-timeout", true);
  }

  /** Give the session a deadline, or none. */
  setDeadline(delayMs: number): void {
    if (delayMs > 0) this.core.wheel.set(this, delayMs);
    else this.core.wheel.clear(this);
  }

  #abandonServer(): void {
    this.#connector.cancel();
    if (this.server === undefined) return;
    this.server.reset();
    this.server = undefined;
    this.#connector.forgetOwn();
  }

  /** The client may still read its answer; what it sends is thrown away, so that closing does not take the answer back. */
  #linger(): void {
    this.phase = Phase.Lingering;
    this.client.end();
    this.client.resume();
    this.setDeadline(LINGER_MS);
  }
}
