import type { TunnelSide, TunnelTap } from "./engine.ts";
import { PacketFrame, TcpFlag, type WireEnds } from "./packet-frame.ts";
import type { TrafficCapture } from "./traffic-capture.ts";

const NOTHING = new Uint8Array(0);
/** Segments after which the other side is seen to have taken them: fewer bytes than the window. */
const SEGMENTS_PER_ACK = 32;

/**
 * One connection as TCP between its client and its target, from handshake to end: what the two would have sent if there were no proxy
 * between them.
 */
export class StreamCapture implements TunnelTap {
  readonly #capture: TrafficCapture;
  readonly #ends: WireEnds;
  /** Next sequence number of each side. */
  readonly #next: [number, number];
  readonly #hasEnded: [boolean, boolean] = [false, false];
  #isClosed = false;

  constructor(capture: TrafficCapture, ends: WireEnds, initialSequence: number) {
    this.#capture = capture;
    this.#ends = ends;
    this.#next = [initialSequence, (initialSequence + 0x40000000) >>> 0];
    this.#control(0, TcpFlag.Syn);
    this.#control(1, TcpFlag.Syn | TcpFlag.Ack);
    this.#control(0, TcpFlag.Ack);
  }

  onBytes(side: TunnelSide, bytes: Uint8Array, from: number, to: number): void {
    if (this.#isClosed || this.#hasEnded[side]) return;
    const most = PacketFrame.segmentBytes(this.#ends.isIpv6);
    let unacknowledged = 0;
    for (let at = from; at < to; at += most) {
      const end = Math.min(to, at + most);
      this.#put(side, end === to ? TcpFlag.Ack | TcpFlag.Psh : TcpFlag.Ack, bytes, at, end);
      if (end < to && ++unacknowledged % SEGMENTS_PER_ACK === 0) this.#acknowledge(side);
    }
    this.#acknowledge(side);
  }

  /** A side has ended its direction. */
  end(side: TunnelSide): void {
    if (this.#isClosed || this.#hasEnded[side]) return;
    this.#hasEnded[side] = true;
    this.#control(side, TcpFlag.Fin | TcpFlag.Ack);
    this.#acknowledge(side);
  }

  /** The connection is over: by the end of both directions, or `isAbrupt`, by a reset from `side`. */
  close(side: TunnelSide, isAbrupt: boolean): void {
    if (this.#isClosed) return;
    if (isAbrupt) this.#control(side, TcpFlag.Rst | TcpFlag.Ack);
    else {
      this.end(side);
      this.end(side === 0 ? 1 : 0);
    }
    this.#isClosed = true;
  }

  /** The other side has all of it. */
  #acknowledge(side: TunnelSide): void {
    this.#control(side === 0 ? 1 : 0, TcpFlag.Ack);
  }

  #control(side: TunnelSide, flags: number): void {
    this.#put(side, flags, NOTHING, 0, 0);
    // SYN and FIN take a number each.
    if ((flags & (TcpFlag.Syn | TcpFlag.Fin)) !== 0) this.#next[side] = (this.#next[side] + 1) >>> 0;
  }

  #put(side: TunnelSide, flags: number, bytes: Uint8Array, from: number, to: number): void {
    const acknowledgement = (flags & TcpFlag.Ack) === 0 ? 0 : this.#next[1 - side];
    const segment = { flags, sequence: this.#next[side], acknowledgement };
    this.#capture.segment(this.#ends, side, segment, bytes, from, to);
    this.#next[side] = (this.#next[side] + (to - from)) >>> 0;
  }
}
