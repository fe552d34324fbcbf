import type {
  Engine,
  Tunnel,
  TunnelLimiter,
  TunnelOptions,
  TunnelOwner,
  TunnelSide,
  TunnelTap,
} from "../../relay/engine.ts";
import { Direction } from "./direction.ts";
import type { Pipes } from "./pipes.ts";
import type { EpollSocket, SocketTunnel } from "./socket.ts";

/** Two sockets of the engine, joined. */
export class EpollTunnel implements Tunnel, SocketTunnel {
  activeMs: number;
  readonly limiter: TunnelLimiter | undefined;
  readonly tap: TunnelTap | undefined;
  readonly pipes: Pipes;
  readonly #client: EpollSocket;
  readonly #server: EpollSocket;
  readonly #owner: TunnelOwner;
  readonly #clock: Pick<Engine, "nowMs">;
  readonly #up: Direction;
  readonly #down: Direction;
  #isOver = false;

  constructor(
    client: EpollSocket,
    server: EpollSocket,
    owner: TunnelOwner,
    pipes: Pipes,
    clock: Pick<Engine, "nowMs">,
    options: TunnelOptions | undefined,
  ) {
    this.#client = client;
    this.#server = server;
    this.#owner = owner;
    this.#clock = clock;
    this.pipes = pipes;
    this.limiter = options?.limiter;
    this.tap = options?.tap;
    this.activeMs = clock.nowMs();
    this.#up = new Direction(this, 0, client, server);
    this.#down = new Direction(this, 1, server, client);
    this.#take(client);
    this.#take(server);
  }

  get clientBytes(): number {
    return this.#up.bytes;
  }

  get serverBytes(): number {
    return this.#down.bytes;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  touch(): void {
    this.activeMs = this.#clock.nowMs();
  }

  reset(): void {
    if (this.#isOver) return;
    this.#end();
    this.#client.reset();
    this.#server.reset();
  }

  onReady(socket: EpollSocket): void {
    const isClient = socket === this.#client;
    const outOf = isClient ? this.#up : this.#down;
    const into = isClient ? this.#down : this.#up;
    if (socket.canWrite && into.isBlocked) into.pump();
    if (socket.canRead && !this.#isOver) outOf.pump();
  }

  /** A direction has come to its end, and all of it is sent. */
  onDirectionEnd(direction: Direction): void {
    this.touch();
    const isUp = direction === this.#up;
    if ((isUp ? this.#down : this.#up).isEnded) return this.#finish();
    (isUp ? this.#server : this.#client).end();
    this.#owner.onHalfClose(this, isUp ? 0 : 1);
  }

  /** A socket is broken. The other is reset: it must not take what it has for all there was. */
  onBroken(socket: EpollSocket): void {
    if (this.#isOver) return;
    this.#end();
    const side: TunnelSide = socket === this.#client ? 0 : 1;
    socket.close();
    (side === 0 ? this.#server : this.#client).reset();
    this.#owner.onTunnelEnd(this, side, socket.error);
  }

  #take(socket: EpollSocket): void {
    socket.tunnel = this;
    // An end that was read before is read again, so that it reaches the other side.
    socket.canRead ||= socket.hasEnded;
    socket.loop.queue(socket);
  }

  /** Both directions have ended: closing tells the side that does not know it yet. */
  #finish(): void {
    this.#end();
    this.#client.close();
    this.#server.close();
    this.#owner.onTunnelEnd(this, 0, "");
  }

  #end(): void {
    this.#isOver = true;
    this.#client.tunnel = this.#server.tunnel = undefined;
    this.#up.release();
    this.#down.release();
  }
}
