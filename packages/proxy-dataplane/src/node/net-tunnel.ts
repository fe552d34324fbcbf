import type { Tunnel, TunnelLimiter, TunnelOptions, TunnelOwner, TunnelSide, TunnelTap } from "../relay/engine.ts";
import type { SocketOwner } from "../relay/engine.ts";
import type { DirectReader, NetSocket } from "./net-socket.ts";

/** One direction of a tunnel: what is read from `from` is written to `to` out of the buffer it was read into. */
class Direction implements DirectReader {
  bytes = 0;
  isEnded = false;
  readonly #tunnel: NetTunnel;
  readonly #side: TunnelSide;
  readonly #from: NetSocket;
  readonly #to: NetSocket;
  #issued = 0;
  #done = 0;
  /** Number of the write that reading waits for; 0: none. */
  #blockedBy = 0;
  #isDelayed = false;
  readonly #onWritten = (): void => {
    this.#done++;
    // Callbacks of writes that were done at once come late, one turn after: they say nothing about the one that blocks.
    if (this.#blockedBy === 0 || this.#done < this.#blockedBy) return;
    this.#blockedBy = 0;
    this.#from.isLent = false;
    this.#resume();
  };

  constructor(tunnel: NetTunnel, side: TunnelSide, from: NetSocket, to: NetSocket) {
    this.#tunnel = tunnel;
    this.#side = side;
    this.#from = from;
    this.#to = to;
  }

  onRead(buffer: Uint8Array, count: number): boolean {
    const tunnel = this.#tunnel;
    this.bytes += count;
    tunnel.touch();
    tunnel.tap?.onBytes(this.#side, buffer, 0, count);
    this.#issued++;
    this.#to.stream.write(buffer.subarray(0, count), this.#onWritten);
    const delayMs = tunnel.limiter?.take(this.#side, count) ?? 0;
    if (delayMs > 0) this.#delay(delayMs);
    // The kernel has it all: the buffer may be read into again.
    if (this.#to.isDrained) return !this.#isDelayed;
    this.#blockedBy = this.#issued;
    this.#from.isLent = true;
    return false;
  }

  /** Reading begins. */
  start(): void {
    this.#resume();
  }

  onEnd(): void {
    this.isEnded = true;
    this.#to.stream.end();
  }

  #delay(delayMs: number): void {
    this.#isDelayed = true;
    setTimeout(() => {
      this.#isDelayed = false;
      this.#resume();
    }, delayMs);
  }

  #resume(): void {
    if (this.#blockedBy === 0 && !this.#isDelayed && !this.#from.stream.destroyed) this.#from.stream.resume();
  }
}

/** Two sockets of `node:net`, joined. */
export class NetTunnel implements Tunnel, SocketOwner {
  activeMs: number;
  readonly limiter: TunnelLimiter | undefined;
  readonly tap: TunnelTap | undefined;
  readonly #client: NetSocket;
  readonly #server: NetSocket;
  readonly #owner: TunnelOwner;
  readonly #nowMs: () => number;
  readonly #up: Direction;
  readonly #down: Direction;
  #closed = 0;
  #isOver = false;

  constructor(
    client: NetSocket,
    server: NetSocket,
    owner: TunnelOwner,
    nowMs: () => number,
    options: TunnelOptions | undefined,
  ) {
    this.#client = client;
    this.#server = server;
    this.#owner = owner;
    this.#nowMs = nowMs;
    this.limiter = options?.limiter;
    this.tap = options?.tap;
    this.activeMs = nowMs();
    this.#up = new Direction(this, 0, client, server);
    this.#down = new Direction(this, 1, server, client);
    client.owner = server.owner = this;
    client.reader = this.#up;
    server.reader = this.#down;
    this.#up.start();
    this.#down.start();
    for (const socket of [client, server]) if (socket.stream.readableEnded) setImmediate(() => this.#endLate(socket));
  }

  get clientBytes(): number {
    return this.#up.bytes;
  }

  get serverBytes(): number {
    return this.#down.bytes;
  }

  touch(): void {
    this.activeMs = this.#nowMs();
  }

  reset(): void {
    this.#isOver = true;
    this.#client.reset();
    this.#server.reset();
  }

  onConnect(): void {}
  onData(): void {}
  onDrain(): void {}

  onEnd(socket: NetSocket): void {
    this.touch();
    const [direction, other] = socket === this.#client ? [this.#up, this.#down] : [this.#down, this.#up];
    direction.onEnd();
    if (!other.isEnded && !this.#isOver) this.#owner.onHalfClose(this, socket === this.#client ? 0 : 1);
  }

  /** The peer ended its direction before the tunnel was: nobody will tell that again. */
  #endLate(socket: NetSocket): void {
    if (!this.#isOver) this.onEnd(socket);
  }

  onClose(socket: NetSocket, error: string): void {
    if (this.#isOver) return;
    this.#closed++;
    const side = socket === this.#client ? 0 : 1;
    const orderly = error === "" && this.#up.isEnded && this.#down.isEnded;
    if (orderly && this.#closed < 2) return;
    this.#isOver = true;
    // A reset is passed on as one: the other side must not take what it has for all there was.
    if (!orderly) (side === 0 ? this.#server : this.#client).reset();
    this.#owner.onTunnelEnd(this, side, orderly ? "" : error === "" ? "ECONNRESET" : error);
  }
}
