import { Bind } from "./bind.ts";
import { RelayState } from "./connection-table.ts";
import { Count } from "./counters.ts";
import type { RelayCore } from "./core.ts";
import { Dialer } from "./dialer.ts";
import type { Endpoint, RelaySocket, SocketOwner, Tunnel, TunnelOwner, TunnelSide } from "./engine.ts";
import { failureOfErrno, type RelayFailure } from "./failure.ts";
import { HTTP_MAX_HEAD } from "./http-head.ts";
import type { Inbound } from "./inbound.ts";
import { InputBuffer } from "./input-buffer.ts";
import type { ListenerRuntime, RelayRuntime } from "./runtime.ts";
import { Phase, type CommandHandler } from "./phase.ts";
import { takeProxyHeader, PROXY_MAX_HEADER, type ProxyHeader } from "./proxy-protocol.ts";
import { headerFor } from "./proxy-protocol-write.ts";
import { ParsedRequest, RelayCommand } from "./request.ts";
import { Timed } from "./timer-wheel.ts";
import { Way } from "./way.ts";
import { UdpAssociation } from "./udp-association.ts";

/** After a refusal the client gets this long to read it before the connection is reset. */
const LINGER_MS = 1000;

/**
 * A client's connection from accepting to the end:
 *
 *     ProxyHeader ─▶ Request ─▶ Connecting ─▶ Upstream ─▶ Relaying ─▶ Closed
 *                       │           │▲            │                      ▲
 *                       │           └┴── retry ───┤                      │
 *                       ├─▶ Command ──────────────┼──────────────────────┤
 *                       └─────────▶ Lingering ◀───┘──────────────────────┘
 */
export class Session extends Timed implements SocketOwner, TunnelOwner {
  readonly core: RelayCore;
  /** The configuration of the moment when the client connected; a reload does not touch it. */
  readonly runtime: RelayRuntime;
  readonly listener: ListenerRuntime;
  readonly client: RelaySocket;
  readonly request: ParsedRequest = new ParsedRequest();
  readonly input: InputBuffer = new InputBuffer();
  /** The connection's object in the table of all. */
  readonly object: number;
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
  phase: Phase;
  server: RelaySocket | undefined = undefined;
  connectedMs = 0;
  clientBytes = 0;
  serverBytes = 0;
  #tunnel: Tunnel | undefined = undefined;
  #dialer: Dialer | undefined = undefined;
  #command: CommandHandler | undefined = undefined;
  #failure: RelayFailure = "";
  #halfClosed = false;
  /** Numbers attempts to connect: the answer to a look-up that was given up comes too late. */
  #attempt = 0;
  #way: Way | undefined = undefined;

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
    if (this.phase === Phase.Request && this.listener.target !== undefined) this.#requestTarget();
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
    return this.#way?.name ?? "";
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
    switch (request.command) {
      case RelayCommand.Bind:
        return this.#takeCommand(new Bind(this));
      case RelayCommand.UdpAssociate:
        return this.#takeCommand(new UdpAssociation(this));
      default:
        return this.#connect();
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
    if (inbound === undefined || this.listener.target !== undefined) return this.close(failure, true);
    inbound.fail(this, failure);
    this.#linger();
  }

  /** The end of the connection to the target, for replies; undefined before there is one. */
  boundEndpoint(): Endpoint | undefined {
    return this.server?.local;
  }

  // What happens to the sockets before they are joined.

  onData(socket: RelaySocket, bytes: Uint8Array, from: number, to: number): void {
    if (socket === this.server) return this.#way?.onServerData(bytes, from, to);
    if (socket !== this.client) return;
    if (this.phase === Phase.Command) return this.#command?.onClientData(bytes, from, to);
    if (this.phase > Phase.Connecting) return;
    const limit = this.phase === Phase.ProxyHeader ? PROXY_MAX_HEADER + HTTP_MAX_HEAD : HTTP_MAX_HEAD;
    if (!this.input.append(bytes, from, to, limit)) return this.fail("malformed-request");
    this.#advance();
  }

  onEnd(socket: RelaySocket): void {
    if (socket === this.server) return this.serverFailed("server-gone");
    if (socket !== this.client) return;
    // A client that ends before its request, or the connection that a command lives by: nothing more will come of it.
    if (this.phase === Phase.Lingering) return this.close(this.#failure, false);
    if (this.phase === Phase.Command || this.phase <= Phase.Request) return this.close("client-gone", false);
  }

  onDrain(): void {}

  onConnect(socket: RelaySocket): void {
    this.onDialed(socket);
  }

  onClose(socket: RelaySocket, error: string): void {
    if (socket === this.client) {
      this.close(this.phase === Phase.Lingering ? this.#failure : error === "" ? "client-gone" : "client-reset", true);
    } else if (socket === this.server) {
      this.server = undefined;
      this.serverFailed(this.phase === Phase.Upstream ? "server-gone" : failureOfErrno(error));
    }
  }

  // Connecting.

  onDialed(socket: RelaySocket): void {
    this.#dialer = undefined;
    this.server = socket;
    socket.owner = this;
    if (this.#way === undefined) return this.#established();
    this.phase = Phase.Upstream;
    this.core.table.setState(this.object, RelayState.UpstreamHandshake);
    this.setDeadline(this.runtime.timeouts.upstreamMs);
    this.#way.start(socket);
  }

  onDialFailed(failure: RelayFailure): void {
    this.#dialer = undefined;
    this.core.count(failure === "connect-timeout" ? Count.connectTimeouts : Count.connectFailures, 1);
    this.serverFailed(failure);
  }

  /** The last server of the way has opened it. */
  onWayOpen(): void {
    this.server?.pause();
    this.#established();
  }

  // Relaying.

  onHalfClose(_tunnel: Tunnel, _side: TunnelSide): void {
    this.#halfClosed = true;
    this.core.table.setState(this.object, RelayState.HalfClosed);
    this.setDeadline(this.runtime.timeouts.halfClosedMs);
  }

  onTunnelEnd(_tunnel: Tunnel, side: TunnelSide, error: string): void {
    this.close(error === "" ? "" : side === 0 ? "client-reset" : "server-reset", false);
  }

  onDeadline(): void {
    switch (this.phase) {
      case Phase.ProxyHeader:
      case Phase.Request:
        this.core.count(Count.handshakeTimeouts, 1);
        return this.fail("handshake-timeout");
      case Phase.Connecting:
        return this.#connectTimedOut();
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
    const tunnel = this.#tunnel;
    if (tunnel !== undefined) this.core.table.progress(this.object, tunnel.clientBytes, tunnel.serverBytes);
  }

  /** The end, whatever came before. */
  close(failure: RelayFailure, isAbrupt: boolean): void {
    if (this.phase === Phase.Closed) return;
    this.phase = Phase.Closed;
    this.core.wheel.clear(this);
    this.#abandonServer();
    this.#way?.end();
    this.#command?.dispose();
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
    this.#way?.sendEarly(this.client);
    if (preface !== undefined) server.write(preface, 0, preface.length);
    if (input.length > 0) server.write(input.bytes, input.from, input.to);
    this.clientBytes += input.length + (preface?.length ?? 0);
    this.preface = undefined;
    input.clear();
    this.setDeadline(this.runtime.timeouts.idleMs);
    this.#tunnel = this.core.engine.join(this.client, server, this, this.core.tunnelOptions(this));
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
    return true;
  }

  #requestTarget(): void {
    const { target } = this.listener;
    if (target === undefined) return;
    const { request } = this;
    request.host = target.host;
    request.port = target.port;
    request.family = target.family;
    this.client.pause();
    this.#connect();
  }

  #takeCommand(command: CommandHandler & { start(): void }): void {
    this.phase = Phase.Command;
    this.#command = command;
    this.core.table.setState(this.object, RelayState.Waiting);
    this.#describe("");
    command.start();
  }

  #describe(upstream: string): void {
    const { host, port, family } = this.request;
    const target =
      family === 6 ? `[${host}]:${port}` : this.listener.target?.isPath === true ? host : `${host}:${port}`;
    this.core.table.describe(this.object, target, upstream, this.user);
  }

  #connect(): void {
    this.phase = Phase.Connecting;
    this.core.table.setState(this.object, RelayState.Connecting);
    this.#describe("");
    const { listener } = this;
    if (this.runtime.config.policy !== undefined && listener.target?.isPath !== true) {
      const way = Way.choose(this);
      if (typeof way === "string") return way === "drop" ? this.close("denied", true) : this.fail("denied");
      this.#way = way;
    }
    this.#dial();
  }

  /** The target, or the first server on the way to it. */
  #dial(): void {
    this.phase = Phase.Connecting;
    this.setDeadline(this.runtime.timeouts.connectMs);
    const { request, listener } = this;
    const first = this.#way?.first;
    if (first !== undefined) {
      this.#describe(this.upstreamName);
      if (first.family === 0) return this.#dialName(first.host, first.port);
      return this.#dialOne({ family: first.family, host: first.host, port: first.port });
    }
    if (listener.target?.isPath === true) return this.#dialOne({ family: 0, host: request.host, port: 0 });
    if (request.family !== 0) return this.#dialAddress(request.family, request.host, request.port);
    this.#dialName(request.host, request.port);
  }

  #dialAddress(family: 4 | 6, host: string, port: number): void {
    if (!this.#mayReach(host, port)) return this.fail("forbidden-target");
    this.#dialOne({ family, host, port });
  }

  #dialOne(to: Endpoint): void {
    this.server = this.core.engine.connect(to, this);
  }

  #dialName(host: string, port: number): void {
    const attempt = ++this.#attempt;
    this.core.resolver.resolve(host, (addresses, failure) => {
      if (attempt !== this.#attempt || this.phase !== Phase.Connecting) return;
      if (failure !== "") return this.onDialFailed(failure);
      const isServer = this.#way !== undefined;
      const allowed = addresses.filter((address) => isServer || this.#mayReach(address.host, port));
      if (allowed.length === 0) return this.fail("forbidden-target");
      const ends = allowed.map((address) => ({ family: address.family, host: address.host, port }));
      if (ends.length === 1) return this.#dialOne(ends[0]);
      const { core, runtime } = this;
      this.#dialer = new Dialer(core.engine, core.wheel, this, ends, runtime.dns.attemptDelayMs);
      this.#dialer.start();
    });
  }

  /** The target of a forwarding listener is the owner's choice, all others are the client's. */
  #mayReach(host: string, port: number): boolean {
    if (this.listener.target !== undefined) return true;
    return this.runtime.guard.allows(host) && !this.core.isOwnListener(host, port);
  }

  #connectTimedOut(): void {
    this.#attempt++;
    this.#abandonServer();
    this.onDialFailed("connect-timeout");
  }

  /** A server of the way, or the target of a direct connection, is at fault. */
  serverFailed(failure: RelayFailure): void {
    if (this.phase >= Phase.Relaying) return;
    const way = this.#way;
    if (way === undefined) return this.fail(failure);
    this.#abandonServer();
    if (!way.retry(failure)) return this.fail(failure);
    this.core.count(Count.retries, 1);
    this.#dial();
  }

  #established(): void {
    const { server } = this;
    if (server === undefined) return;
    const version = this.listener.config.sendProxyProtocol;
    if (version !== undefined) {
      const header = headerFor(version, this.source, this.proxied?.destination ?? this.client.local);
      server.write(header, 0, header.length);
    }
    this.inbound?.succeed(this);
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
    this.#attempt++;
    this.#dialer?.cancel();
    this.#dialer = undefined;
    this.server?.reset();
    this.server = undefined;
  }

  /** The client may still read its answer; what it sends is thrown away, so that closing does not take the answer back. */
  #linger(): void {
    this.phase = Phase.Lingering;
    this.client.end();
    this.client.resume();
    this.setDeadline(LINGER_MS);
  }
}
