import { CaptureWriter } from "../capture-writer.ts";
import type { Endpoint } from "./engine.ts";
import { PacketFrame, wireEnds, type Segment, type WireEnds } from "./packet-frame.ts";
import { StreamCapture } from "./stream-capture.ts";

/** Link type of Ethernet in capture files. */
const ETHERNET = 1;
/** Packets that wait to be taken, at most; more are lost, as a sniffer loses them. */
const MAX_WAITING_BYTES = 8 << 20;
const NS_PER_MS = 1e6;
/** Addresses for targets that only their names are known of: 198.18.0.0/15 (RFC 2544). */
const NAMED_NETWORK = 0xc6120000;
const NAMED_ADDRESSES = 1 << 17;

/** The beginning of a capture's file. */
export function captureHeader(): Uint8Array {
  return new CaptureWriter({ linkTypes: [ETHERNET] }).finish();
}

/** What passes a worker's relay, as packets. Not for two threads at once. */
export class TrafficCapture {
  readonly #wallMs: () => number;
  readonly #onLost: () => void;
  readonly #frame = new PacketFrame();
  readonly #writer: CaptureWriter;
  readonly #startMs: number;
  readonly #names = new Map<string, string>();
  #streams = 0;

  /**
   * @param wallMs - milliseconds since 1970, fractions welcome
   * @param onLost - called for each packet that there was no room for
   */
  constructor(wallMs: () => number, onLost: () => void) {
    this.#wallMs = wallMs;
    this.#onLost = onLost;
    const startSeconds = Math.floor(wallMs() / 1000);
    this.#startMs = startSeconds * 1000;
    this.#writer = new CaptureWriter({ linkTypes: [ETHERNET], startSeconds });
    this.#writer.take();
  }

  /** A connection begins. */
  stream(client: Endpoint, server: Endpoint): StreamCapture {
    const initialSequence = Math.imul(++this.#streams, 0x9e3779b1) >>> 0;
    return new StreamCapture(this, wireEnds(client, server), initialSequence);
  }

  /** A datagram from the client (`side` 0) or the server. */
  datagram(client: Endpoint, server: Endpoint, side: 0 | 1, bytes: Uint8Array, from: number, to: number): void {
    this.#frame.udp(wireEnds(client, server), side, bytes, from, to);
    this.#add();
  }

  /** An address for a target that is known by name alone: one a name, in the order in which they come. */
  named(host: string, port: number): Endpoint {
    let address = this.#names.get(host);
    if (address === undefined) {
      if (this.#names.size >= NAMED_ADDRESSES) this.#names.clear();
      const number = NAMED_NETWORK + this.#names.size;
      address = [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
      this.#names.set(host, address);
    }
    return { family: 4, host: address, port };
  }

  /** What has come together since the last time: whole records of the file; undefined: nothing. */
  take(): Uint8Array | undefined {
    return this.#writer.waitingBytes === 0 ? undefined : this.#writer.take();
  }

  /** @internal */
  segment(ends: WireEnds, side: 0 | 1, segment: Segment, bytes: Uint8Array, from: number, to: number): void {
    if (this.#writer.waitingBytes > MAX_WAITING_BYTES) return this.#onLost();
    this.#frame.tcp(ends, side, segment, bytes, from, to);
    this.#add();
  }

  #add(): void {
    if (this.#writer.waitingBytes > MAX_WAITING_BYTES) return this.#onLost();
    const timestampNs = Math.max(0, Math.floor((this.#wallMs() - this.#startMs) * NS_PER_MS));
    this.#writer.add(this.#frame.bytes, 0, this.#frame.length, { timestampNs });
  }
}
