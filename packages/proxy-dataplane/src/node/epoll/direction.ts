import type { TunnelSide } from "../../relay/engine.ts";
import { MSG_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from "./libc.ts";
import { INPUT_BYTES } from "./loop.ts";
import { PIPE_BYTES, type Pipe } from "./pipes.ts";
import type { EpollSocket } from "./socket.ts";
import type { EpollTunnel } from "./tunnel.ts";

/** What is received at once, to begin with, and after the receiver could not take all of it. */
const FIRST_BYTES = 64 * 1024;
/** Pieces that a direction may move before it is the others' turn. */
const PIECES = 8;
/** Full pieces after which bytes are moved without being copied, and the piece after which they are copied again. */
const FULL_PIECES = 2;
const SMALL_PIECE_BYTES = 4096;

/**
 * One direction of a tunnel. Bytes are received into the loop's input and sent from there; the rest of what could not be sent is copied, and
 * nothing more is received until it is. Where much moves at a time, and nobody looks at it, they go through a pipe instead (splice(2)).
 */
export class Direction {
  bytes = 0;
  /** The sender's end has been read. */
  isEnded = false;
  /** Waits for the receiver. */
  isBlocked = false;
  readonly #tunnel: EpollTunnel;
  readonly #side: TunnelSide;
  readonly #from: EpollSocket;
  readonly #to: EpollSocket;
  #isDelayed = false;
  #pieceBytes = FIRST_BYTES;
  #fullPieces = 0;
  #pipe: Pipe | undefined = undefined;
  /** Bytes in the pipe. */
  #piped = 0;

  constructor(tunnel: EpollTunnel, side: TunnelSide, from: EpollSocket, to: EpollSocket) {
    this.#tunnel = tunnel;
    this.#side = side;
    this.#from = from;
    this.#to = to;
    this.isBlocked = to.hasUnsent;
  }

  /** Move what can be moved. */
  pump(): void {
    if (!this.#sendRest()) return;
    for (let pieces = 0; this.#from.canRead && !this.#isDelayed && !this.isEnded; pieces++) {
      this.isBlocked = !this.#to.canWrite;
      if (this.isBlocked) return;
      if (pieces === PIECES) return this.#from.loop.queue(this.#from);
      const moves = this.#pipe === undefined ? this.#copy() : this.#splice(this.#pipe);
      if (!moves) return;
    }
  }

  /** Nothing moves any more. */
  release(): void {
    if (this.#pipe === undefined) return;
    this.#tunnel.pipes.give(this.#pipe, this.#piped === 0);
    this.#pipe = undefined;
    this.#piped = 0;
  }

  /** Send what is left from before. False: the receiver does not take it yet, or all is over. */
  #sendRest(): boolean {
    if (!this.isBlocked) return true;
    const to = this.#to;
    const isSent = to.flush() && (this.#pipe === undefined || this.#sendPiped(this.#pipe));
    if (!isSent) {
      if (to.error !== "") this.#tunnel.onBroken(to);
      return false;
    }
    this.isBlocked = false;
    this.#tunnel.touch();
    return true;
  }

  /** A piece by way of the loop's input. Returns whether to go on. */
  #copy(): boolean {
    const from = this.#from;
    const to = this.#to;
    const count = from.receive(this.#pieceBytes);
    if (count === 0) return this.#onNothing();
    this.#moved(count);
    const { bytes, address } = from.loop.input;
    this.#tunnel.tap?.onBytes(this.#side, bytes, 0, count);
    // The last bytes and the end go in one packet.
    const isLast = from.endFollows && count < this.#pieceBytes;
    const sent = to.send(address, count, isLast ? MSG_MORE : 0);
    if (sent === count) {
      if (isLast) return this.#end();
      this.#choosePiece(count);
      return true;
    }
    if (sent < 0) {
      this.#tunnel.onBroken(to);
      return false;
    }
    to.keep(bytes, sent, count);
    this.#pieceBytes = FIRST_BYTES;
    this.isBlocked = true;
    return false;
  }

  /** Larger pieces while they come full, and a pipe after that. */
  #choosePiece(count: number): void {
    if (count < this.#pieceBytes) {
      this.#fullPieces = 0;
      return;
    }
    if (this.#pieceBytes < INPUT_BYTES) {
      this.#pieceBytes = INPUT_BYTES;
      return;
    }
    if (++this.#fullPieces < FULL_PIECES || this.#tunnel.tap !== undefined) return;
    this.#fullPieces = 0;
    this.#pipe = this.#tunnel.pipes.take();
  }

  /** A piece by way of a pipe. Returns whether to go on. */
  #splice(pipe: Pipe): boolean {
    const { libc } = this.#from.loop;
    const count = libc.splice(this.#from.fd, 0, pipe.writer, 0, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count <= 0) return this.#from.hasNone(count) ? this.#onNothing() : true;
    this.#moved(count);
    this.#piped += count;
    if (!this.#sendPiped(pipe)) {
      if (this.#to.error !== "") this.#tunnel.onBroken(this.#to);
      else this.isBlocked = true;
      return false;
    }
    if (count < SMALL_PIECE_BYTES) this.release();
    return true;
  }

  /** Returns whether the pipe is empty. */
  #sendPiped(pipe: Pipe): boolean {
    while (this.#piped > 0) {
      const sent = this.#to.sendPiped(pipe.reader, this.#piped);
      if (sent <= 0) return false;
      this.#piped -= sent;
    }
    return true;
  }

  #moved(count: number): void {
    const tunnel = this.#tunnel;
    this.bytes += count;
    tunnel.touch();
    const delayMs = tunnel.limiter?.take(this.#side, count) ?? 0;
    if (delayMs > 0) this.#delay(delayMs);
  }

  /** Nothing was received. Returns whether to go on: never. */
  #onNothing(): false {
    const from = this.#from;
    if (from.error !== "") this.#tunnel.onBroken(from);
    else if (from.hasEnded) this.#end();
    return false;
  }

  #end(): false {
    this.#from.hasEnded = this.isEnded = true;
    this.#from.canRead = false;
    this.#tunnel.onDirectionEnd(this);
    return false;
  }

  #delay(delayMs: number): void {
    this.#isDelayed = true;
    this.#from.loop.after(delayMs, () => {
      this.#isDelayed = false;
      if (!this.#tunnel.isOver) this.pump();
    });
  }
}
