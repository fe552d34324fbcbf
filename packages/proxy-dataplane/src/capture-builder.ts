import type { Capture } from "./capture.ts";
import { DataplaneError, type DataplaneErrorCode } from "./errors.ts";

const FIRST_CAPACITY = 256;
const NS_PER_SECOND = 1_000_000_000n;

/** The clock of one interface: ticks to nanoseconds since the first packet, without rounding. */
export interface PacketClock {
  /** Ticks in a second. */
  readonly ticksPerSecond: bigint;
  readonly offsetSeconds: bigint;
  /** High and low word of the first time stamp of this interface, and its distance from the capture's start. */
  high: number;
  low: number;
  baseNs: number;
  started: boolean;
}

export function packetClock(ticksPerSecond: bigint, offsetSeconds: bigint = 0n): PacketClock {
  return { ticksPerSecond, offsetSeconds, high: 0, low: 0, baseNs: 0, started: false };
}

/** Collects the columns of a {@link Capture}, and makes the errors of its readers. */
export class CaptureBuilder {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #source: string | undefined;
  readonly #allowTruncated: boolean;
  #count = 0;
  #offsets = new Float64Array(FIRST_CAPACITY);
  #lengths = new Uint32Array(FIRST_CAPACITY);
  #wireLengths = new Uint32Array(FIRST_CAPACITY);
  #linkTypes = new Uint16Array(FIRST_CAPACITY);
  #timestampsNs = new Float64Array(FIRST_CAPACITY);
  #startNs = -1n;
  #firstSeconds = 0;
  #firstNanoseconds = 0;
  #truncatedAt = -1;

  constructor(bytes: Uint8Array, source: string | undefined, allowTruncated: boolean) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#source = source;
    this.#allowTruncated = allowTruncated;
  }

  error(code: DataplaneErrorCode, message: string, offset: number): DataplaneError {
    const where = this.#source === undefined ? { offset } : { file: this.#source, offset };
    return new DataplaneError(code, message, where);
  }

  /** The file ends inside the record at `offset`: an error, or the end of a capture that may be cut. */
  truncated(what: string, offset: number): void {
    if (!this.#allowTruncated) throw this.error("CAPTURE_TRUNCATED", `the file ends inside ${what}`, offset);
    this.#truncatedAt = offset;
  }

  /** A packet; it has no time until it is stamped. */
  add(offset: number, length: number, wireLength: number, linkType: number): void {
    if (this.#count === this.#offsets.length) this.#grow();
    const i = this.#count++;
    this.#offsets[i] = offset;
    this.#lengths[i] = length;
    this.#wireLengths[i] = wireLength;
    this.#linkTypes[i] = linkType;
  }

  /** Sets the time of the packet added last: `high * 2^32 + low` ticks of `clock`. */
  stamp(clock: PacketClock, high: number, low: number): void {
    if (!clock.started) this.#startClock(clock, high, low);
    const ticks = (high - clock.high) * 0x100000000 + (low - clock.low);
    const perSecond = Number(clock.ticksPerSecond);
    // Whole seconds apart from the rest, so that a fractional factor does not blur long captures.
    const seconds = Math.floor(ticks / perSecond);
    const ns = seconds * 1e9 + Math.round(((ticks - seconds * perSecond) * 1e9) / perSecond);
    this.#timestampsNs[this.#count - 1] = clock.baseNs + ns;
  }

  /** Sets the time of the packet added last, from whole seconds and nanoseconds as pcap has them. */
  stampSeconds(seconds: number, nanoseconds: number): void {
    if (this.#startNs < 0n) this.#startNs = BigInt(seconds) * NS_PER_SECOND + BigInt(nanoseconds);
    if (this.#count === 1) {
      this.#firstSeconds = seconds;
      this.#firstNanoseconds = nanoseconds;
    }
    const ns = (seconds - this.#firstSeconds) * 1e9 + (nanoseconds - this.#firstNanoseconds);
    this.#timestampsNs[this.#count - 1] = ns;
  }

  finish(format: Capture["format"]): Capture {
    const count = this.#count;
    const offsets = this.#offsets.slice(0, count);
    const lengths = this.#lengths.slice(0, count);
    const wireLengths = this.#wireLengths.slice(0, count);
    const start = this.#startNs < 0n ? 0n : this.#startNs;
    return {
      bytes: this.bytes,
      format,
      count,
      offsets,
      lengths,
      wireLengths,
      linkTypes: this.#linkTypes.slice(0, count),
      timestampsNs: this.#timestampsNs.slice(0, count),
      startSeconds: Number(start / NS_PER_SECOND),
      startNanoseconds: Number(start % NS_PER_SECOND),
      truncatedAt: this.#truncatedAt,
      forEachPacket(visit): void {
        for (let i = 0; i < count; i++) visit(i, offsets[i], lengths[i], wireLengths[i]);
      },
    };
  }

  /** Runs once an interface: exact arithmetic on 64 bits fixes its distance from the capture's start. */
  #startClock(clock: PacketClock, high: number, low: number): void {
    const ticks = BigInt(high) * 0x100000000n + BigInt(low);
    const ns = (ticks * NS_PER_SECOND) / clock.ticksPerSecond + clock.offsetSeconds * NS_PER_SECOND;
    if (this.#startNs < 0n) this.#startNs = ns < 0n ? 0n : ns;
    clock.high = high;
    clock.low = low;
    clock.baseNs = Number(ns - this.#startNs);
    clock.started = true;
  }

  #grow(): void {
    const capacity = this.#count * 2;
    const grown = <A extends Float64Array | Uint32Array | Uint16Array>(to: A, from: A): A => {
      to.set(from);
      return to;
    };
    this.#offsets = grown(new Float64Array(capacity), this.#offsets);
    this.#lengths = grown(new Uint32Array(capacity), this.#lengths);
    this.#wireLengths = grown(new Uint32Array(capacity), this.#wireLengths);
    this.#linkTypes = grown(new Uint16Array(capacity), this.#linkTypes);
    this.#timestampsNs = grown(new Float64Array(capacity), this.#timestampsNs);
  }
}
