import { Count } from "./counters.ts";
import { Dialer } from "./dialer.ts";
import type { ConnectOptions, Endpoint, RelaySocket } from "./engine.ts";
import type { RelayFailure } from "./failure.ts";
import { Phase } from "./phase.ts";
import type { Session } from "./session.ts";
import { Way } from "./way.ts";

const NOWHERE: Endpoint = { family: 0, host: "", port: 0 };
const SPEAKS_FIRST: ConnectOptions = { speaksFirst: true };

/** Connects a session with its target, or with the first server on the way to it, and by another server when one fails. */
export class Connector {
  readonly #session: Session;
  #way: Way | undefined = undefined;
  #dialer: Dialer | undefined = undefined;
  /** Where the one attempt goes that is under way. */
  #to: Endpoint = NOWHERE;
  /** The connection, where the proxy must know it again; 0: it need not. */
  #ownEntry = 0;
  /** Numbers attempts to connect: the answer to a look-up that was given up comes too late. */
  #attempt = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  get way(): Way | undefined {
    return this.#way;
  }

  /** As the policy says. */
  start(): void {
    const session = this.#session;
    if (session.runtime.config.policy !== undefined && session.listener.target?.isPath !== true) {
      const way = Way.choose(session);
      if (typeof way === "string") return way === "drop" ? session.close("denied", true) : session.fail("denied");
      this.#way = way;
    }
    this.#dial();
  }

  /** Go another way. False: there is none, or it would not help. */
  retry(failure: RelayFailure): boolean {
    if (this.#way?.retry(failure) !== true) return false;
    this.#session.core.count(Count.retries, 1);
    this.#dial();
    return true;
  }

  /** Give up what is under way. */
  cancel(): void {
    this.#attempt++;
    this.#dialer?.cancel();
    this.#dialer = undefined;
  }

  onDialed(socket: RelaySocket): void {
    this.#noteOwn(socket, this.#dialer === undefined ? this.#to : socket.remote);
    this.#dialer = undefined;
    this.#session.onServerConnected(socket);
  }

  onDialFailed(failure: RelayFailure): void {
    this.#dialer = undefined;
    this.#session.core.count(failure === "connect-timeout" ? Count.connectTimeouts : Count.connectFailures, 1);
    this.#session.serverFailed(failure);
  }

  /** The connection is over, or given up. */
  forgetOwn(): void {
    if (this.#ownEntry !== 0) this.#session.core.forgetOwn(this.#ownEntry);
    this.#ownEntry = 0;
  }

  /** A connection is under way, or made; its own end may be known only then. */
  #noteOwn(socket: RelaySocket, to: Endpoint): void {
    if (this.#ownEntry === 0) this.#ownEntry = this.#session.core.noteOwn(socket, to);
  }

  #dial(): void {
    const session = this.#session;
    const { request, listener } = session;
    session.beginConnecting(this.#way?.name ?? "");
    const first = this.#way?.first;
    if (first !== undefined) {
      if (first.family === 0) return this.#dialName(first.host, first.port);
      return this.#dialOne({ family: first.family, host: first.host, port: first.port });
    }
    if (listener.target?.isPath === true) return this.#dialOne({ family: 0, host: request.host, port: 0 });
    if (request.family === 0) return this.#dialName(request.host, request.port);
    if (!this.#mayReach(request.host, request.port)) return session.fail("forbidden-target");
    this.#dialOne({ family: request.family, host: request.host, port: request.port });
  }

  #dialOne(to: Endpoint): void {
    const session = this.#session;
    session.server = session.core.engine.connect(to, session, this.#speaksFirst() ? SPEAKS_FIRST : undefined);
    this.#to = to;
    this.#noteOwn(session.server, to);
  }

  #dialName(host: string, port: number): void {
    const attempt = ++this.#attempt;
    const session = this.#session;
    session.core.resolver.resolve(host, (addresses, failure) => {
      if (attempt !== this.#attempt || session.phase !== Phase.Connecting) return;
      if (failure !== "") return this.onDialFailed(failure);
      const isServer = this.#way !== undefined;
      const allowed = addresses.filter((address) => isServer || this.#mayReach(address.host, port));
      if (allowed.length === 0) return session.fail("forbidden-target");
      this.#race(allowed.map((address) => ({ family: address.family, host: address.host, port })));
    });
  }

  #race(ends: readonly Endpoint[]): void {
    if (ends.length === 1) return this.#dialOne(ends[0]);
    const { core, runtime } = this.#session;
    this.#dialer = new Dialer(core.engine, core.wheel, this, ends, runtime.dns.attemptDelayMs);
    this.#dialer.start();
  }

  /** Something is there to be sent as soon as the connection is. */
  #speaksFirst(): boolean {
    const { listener, client, input, preface } = this.#session;
    if (this.#way !== undefined || listener.config.sendProxyProtocol !== undefined) return true;
    return client.canRead || input.length > 0 || preface !== undefined;
  }

  /** The target of a forwarding listener is the owner's choice, all others are the client's. */
  #mayReach(host: string, port: number): boolean {
    const { core, listener, runtime } = this.#session;
    return listener.target !== undefined || (runtime.guard.allows(host) && !core.isOwnListener(host, port));
  }
}
