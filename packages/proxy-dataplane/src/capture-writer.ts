import { DataplaneError } from "./errors.ts";

const FIRST_BYTES = 4096;
const PCAP_NANOSECONDS = 0xa1b23c4d;
const MAX_SNAP_LENGTH = 262_144;
const NS_PER_SECOND = 1_000_000_000;

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPTION_TSRESOL = 9;
const NANOSECONDS_EXPONENT = 9;
const WORD = 0x1_0000_0000;

/**
 * Options of {@link CaptureWriter}.
 *
 * @public
 */
export interface CaptureWriterOptions {
  /** Link types of the packets that will come. pcap can hold one only. */
  readonly linkTypes: readonly number[];
  /** Default: pcap for one link type, pcapng for several. */
  readonly format?: "pcap" | "pcapng";
  /** Bytes kept of a packet, 1 to 262144. Default 262144. */
  readonly snapLength?: number;
  /** What `timestampNs` counts from: seconds since the epoch, nanoseconds within the second. Default 0. */
  readonly startSeconds?: number;
  readonly startNanoseconds?: number;
}

/**
 * What is told with a packet.
 *
 * @public
 */
export interface WrittenPacket {
  /** Bytes it had on the wire. Default: those that are here. */
  readonly wireLength?: number;
  /** Default: the first of the writer's. */
  readonly linkType?: number;
  /** Nanoseconds from the writer's start, 0 or more. */
  readonly timestampNs?: number;
}

/**
 * Writes a capture into memory: pcap with nanoseconds, or pcapng with an interface for each link type; little-endian.
 *
 * Formats: IETF drafts draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. Thread-safety: one thread. Cost: a copy of the
 * bytes; memory doubles as it fills.
 *
 * @public
 */
export class CaptureWriter {
  readonly format: "pcap" | "pcapng";
  /** Packets so far. */
  count = 0;
  readonly #linkTypes: readonly number[];
  readonly #snapLength: number;
  readonly #startSeconds: number;
  readonly #startNanoseconds: number;
  #bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /** Throws `DATAPLANE_INVALID_ARGUMENT`. */
  constructor(options: CaptureWriterOptions) {
    const { linkTypes, snapLength = MAX_SNAP_LENGTH, startSeconds = 0, startNanoseconds = 0 } = options;
    this.format = options.format ?? (linkTypes.length > 1 ? "pcapng" : "pcap");
    if (linkTypes.length === 0 || (this.format === "pcap" && linkTypes.length > 1)) {
      throw invalid(`${linkTypes.length} link types; pcap holds one, pcapng one or more`);
    }
    if (!Number.isInteger(snapLength) || snapLength < 1 || snapLength > MAX_SNAP_LENGTH) {
      throw invalid(`snapLength is ${snapLength}; 1 to ${MAX_SNAP_LENGTH} are possible`);
    }
    this.#linkTypes = linkTypes;
    this.#snapLength = snapLength;
    this.#startSeconds = startSeconds;
    this.#startNanoseconds = startNanoseconds;
    if (this.format === "pcap") this.#pcapHeader();
    else this.#pcapngHeader();
  }

  /** Adds `bytes[from, from + length)`. Throws `DATAPLANE_INVALID_ARGUMENT` for a link type that was not announced. */
  add(bytes: Uint8Array, from: number, length: number, packet: WrittenPacket = {}): void {
    const { wireLength = length, linkType = this.#linkTypes[0], timestampNs = 0 } = packet;
    const link = this.#linkTypes.indexOf(linkType);
    if (link < 0) throw invalid(`link type ${linkType} was not announced`);
    const kept = Math.min(length, this.#snapLength);
    const nanoseconds = this.#startNanoseconds + (timestampNs % NS_PER_SECOND);
    const carry = Math.floor(nanoseconds / NS_PER_SECOND);
    const seconds = this.#startSeconds + Math.floor(timestampNs / NS_PER_SECOND) + carry;
    const rest = Math.floor(nanoseconds - carry * NS_PER_SECOND);
    if (this.format === "pcap") {
      this.#words(seconds, rest, kept, wireLength);
      this.#put(bytes, from, kept, kept);
    } else this.#enhancedPacket(link, seconds, rest, bytes, from, kept, wireLength);
    this.count++;
  }

  /** Bytes that `take` would give. */
  get waitingBytes(): number {
    return this.#at;
  }

  /** What has come since the last `take`; the file is all of these, one after the other. Its memory is used again. */
  take(): Uint8Array {
    const bytes = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    return bytes;
  }

  /** The file so far, or since the last `take`; a copy. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  #pcapHeader(): void {
    this.#words(PCAP_NANOSECONDS, 2 | (4 << 16), 0, 0, this.#snapLength, this.#linkTypes[0]);
  }

  #pcapngHeader(): void {
    this.#words(SECTION_HEADER, 28, BYTE_ORDER_MAGIC, 1, WORD - 1, WORD - 1, 28);
    for (const linkType of this.#linkTypes) {
      this.#words(INTERFACE_DESCRIPTION, 32, linkType, this.#snapLength);
      this.#words(OPTION_TSRESOL | (1 << 16), NANOSECONDS_EXPONENT, 0, 32);
    }
  }

  #enhancedPacket(
    link: number,
    seconds: number,
    nanoseconds: number,
    bytes: Uint8Array,
    from: number,
    kept: number,
    wireLength: number,
  ): void {
    const padded = (kept + 3) & ~3;
    const ticks = BigInt(seconds) * BigInt(NS_PER_SECOND) + BigInt(nanoseconds);
    this.#words(
      ENHANCED_PACKET,
      32 + padded,
      link,
      Number(ticks >> 32n),
      Number(ticks & 0xffff_ffffn),
      kept,
      wireLength,
    );
    this.#put(bytes, from, kept, padded);
    this.#words(32 + padded);
  }

  #words(...words: number[]): void {
    this.#reserve(words.length * 4);
    for (const word of words) {
      this.#view.setUint32(this.#at, word >>> 0, true);
      this.#at += 4;
    }
  }

  #put(bytes: Uint8Array, from: number, length: number, padded: number): void {
    this.#reserve(padded);
    this.#bytes.set(bytes.subarray(from, from + length), this.#at);
    this.#at += padded;
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + more));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

function invalid(message: string): DataplaneError {
  return new DataplaneError("DATAPLANE_INVALID_ARGUMENT", message);
}
