import { parseAddress } from "../addresses.ts";
import type { ProxyServer } from "../policy/config.ts";
import type { ConnectionRequest, ConnectionRoute } from "../policy/policy-engine.ts";
import { serverName } from "../policy/validate.ts";
import type { RelaySocket, TunnelTap } from "./engine.ts";
import { isWorthRetry, type RelayFailure } from "./failure.ts";
import { HTTP_MAX_HEAD } from "./http-head.ts";
import { InputBuffer } from "./input-buffer.ts";
import { handshakeWith, type UpstreamHandshake } from "./outbound.ts";
import type { Session } from "./session.ts";

/** Where a server is; family 0: `host` is a name. */
export interface Stop {
  readonly host: string;
  readonly port: number;
  readonly family: 0 | 4 | 6;
}

/** The way of one connection through upstream servers, one handshake after the other, and by another server when one fails. */
export class Way {
  readonly #session: Session;
  readonly #request: ConnectionRequest;
  readonly #tried: number[] = [];
  readonly #input = new InputBuffer();
  #route: ConnectionRoute;
  #servers: readonly ProxyServer[];
  #next = 0;
  #handshake: UpstreamHandshake | undefined = undefined;
  #isOpen = false;

  private constructor(session: Session, request: ConnectionRequest, route: ConnectionRoute, server: ProxyServer) {
    this.#session = session;
    this.#request = request;
    this.#route = route;
    this.#servers = session.runtime.chainTo(server);
  }

  /** What the policy says of a session's request: a way, undefined for a direct connection, or how it is refused. */
  static choose(session: Session): Way | undefined | "reject" | "drop" {
    const { source, request: asked, user } = session;
    const request: ConnectionRequest = {
      client: source.family === 0 ? "127.0.0.1" : source.host,
      clientPort: source.port,
      destination: asked.host,
      port: asked.port,
      hostName: session.hostName === "" ? undefined : session.hostName,
      user: user === "" ? undefined : user,
      process: session.process,
    };
    const route = session.core.upstreams.route(request);
    if (route.action === "reject" || route.action === "drop") return route.action;
    if (route.server === undefined) return undefined;
    const way = new Way(session, request, route, route.server);
    way.#open(route);
    return way;
  }

  /** Names of the servers, first to last. */
  get name(): string {
    return this.#servers.map(serverName).join(" ");
  }

  get first(): Stop {
    return stopOf(this.#servers[0]);
  }

  /** The first server is connected. */
  start(socket: RelaySocket): void {
    this.#next = 0;
    this.#input.clear();
    socket.resume();
    this.#greet(socket);
  }

  onServerData(bytes: Uint8Array, from: number, to: number): void {
    const socket = this.#session.server;
    if (socket === undefined || this.#isOpen) return;
    if (!this.#input.append(bytes, from, to, 4 * HTTP_MAX_HEAD))
      return this.#session.serverFailed("upstream-handshake");
    while (this.#handshake !== undefined) {
      const state = this.#handshake.advance(socket, this.#input);
      if (state === "more") return;
      if (state !== "open") return this.#session.serverFailed(state);
      this.#next++;
      if (this.#next === this.#servers.length) return this.#opened();
      this.#greet(socket);
    }
  }

  /** What the target has said before the client could hear it. */
  sendEarly(client: RelaySocket, tap: TunnelTap | undefined): void {
    const input = this.#input;
    if (input.length > 0) {
      tap?.onBytes(1, input.bytes, input.from, input.to);
      client.write(input.bytes, input.from, input.to);
    }
    this.#session.serverBytes += input.length;
    input.clear();
  }

  /** Go another way. False: there is none, or it would not help. */
  retry(failure: RelayFailure): boolean {
    const { core, runtime } = this.#session;
    if (this.#isServersFault(failure)) core.upstreams.failed(this.#route, runtime.health);
    this.#tried.push(this.#route.serverIndex);
    if (!isWorthRetry(failure) || this.#tried.length > runtime.retries) return false;
    const route = core.upstreams.next(this.#request, this.#route, this.#tried);
    if (route?.server === undefined) return false;
    core.upstreams.closed(this.#route);
    this.#open(route);
    this.#servers = runtime.chainTo(route.server);
    this.#handshake = undefined;
    return true;
  }

  /** The connection is over. */
  end(): void {
    this.#session.core.upstreams.closed(this.#route);
  }

  /** The server's connection counts; who forgets the connections of a dead worker finds its slot in the table. */
  #open(route: ConnectionRoute): void {
    const { core, object } = this.#session;
    this.#route = route;
    core.upstreams.opened(route);
    core.table.setServerSlot(object, route.serverSlot);
  }

  /** What a server says of the target is not the server's fault. */
  #isServersFault(failure: RelayFailure): boolean {
    return (
      isWorthRetry(failure) &&
      (this.#handshake === undefined || failure.startsWith("upstream") || failure === "server-gone")
    );
  }

  #opened(): void {
    this.#isOpen = true;
    this.#handshake = undefined;
    this.#session.core.upstreams.succeeded(this.#route);
    this.#session.onWayOpen();
  }

  #greet(socket: RelaySocket): void {
    const next = this.#next + 1;
    const { request } = this.#session;
    const to = next < this.#servers.length ? stopOf(this.#servers[next]) : request;
    this.#handshake = handshakeWith(this.#servers[this.#next], to.host, to.port);
    this.#handshake.start(socket);
  }
}

const words = new Int32Array(4);

/** Where to find a server. */
export function stopOf({ address, port }: ProxyServer): Stop {
  return { host: address, port, family: parseAddress(address, words, 0) };
}
