import type { AddedNode } from "../graph.ts";
import { META_IPV6, transportOf, type PacketVector } from "../packet-vector.ts";
import type { PacketPool } from "../packet-pool.ts";
import { Detection } from "../policy/detect/detected-name.ts";
import { DnsMessage } from "../policy/detect/dns-message.ts";
import { ProtocolDetector } from "../policy/detect/protocol-detector.ts";
import { MAX_NAME_BYTES } from "../policy/limits.ts";
import type { HostNameTable } from "../policy/name-table.ts";
import { IpProtocol } from "../protocols.ts";
import { word } from "../words.ts";

const PROTOCOL_MASK = 0xff;
const UDP_BYTES = 8;
const DNS_PORT = 53;
const HANDSHAKE_RECORD = 22;
/** Greetings that are followed over several segments at once; a power of two. */
const GREETINGS = 64;
/** How long a name that a client used is remembered: as long as an answer of DNS without a time to live of its own. */
const GREETING_TTL_SECONDS = 3600;

/** A client's greeting that goes on in the next segment. */
interface Greeting {
  readonly detector: ProtocolDetector;
  source: number;
  destination: number;
  ports: number;
  /** Sequence number of the segment that goes on with it. */
  next: number;
  isOpen: boolean;
}

/**
 * A node that learns names of addresses from what passes: answers of DNS (UDP, from port 53), and the greetings of TLS and HTTP/1
 * clients, also over several segments in order. Put it in a data path with `nodes`, and give the names to rules with
 * `describeFlow`. Packets go on as they are.
 *
 * Cost: a look at one byte of TCP packets with payload, and at the ports of UDP packets; no allocation. One instance per thread.
 *
 * @public
 */
export class HostNameNode implements AddedNode {
  readonly name = "host-names";
  readonly after = "parse";
  readonly #pool: PacketPool;
  readonly #names: HostNameTable;
  readonly #dns = new DnsMessage();
  readonly #address = new Int32Array(4);
  readonly #found = new Uint8Array(MAX_NAME_BYTES);
  readonly #greetings: readonly Greeting[] = Array.from({ length: GREETINGS }, () => ({
    detector: new ProtocolDetector(),
    source: 0,
    destination: 0,
    ports: 0,
    next: 0,
    isOpen: false,
  }));

  constructor(options: { readonly pool: PacketPool; readonly names: HostNameTable }) {
    this.#pool = options.pool;
    this.#names = options.names;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    for (let p = 0; p < count; p++) {
      const i = positions[p];
      const protocol = vector.metas[i] & PROTOCOL_MASK;
      if (protocol === IpProtocol.Udp) this.#datagram(vector, i);
      else if (protocol === IpProtocol.Tcp && vector.payloads[i] > 0) this.#segment(vector, i);
    }
    return count;
  }

  #datagram(vector: PacketVector, i: number): void {
    const { bytes } = this.#pool;
    const at = transportOf(vector, i);
    if (((bytes[at] << 8) | bytes[at + 1]) !== DNS_PORT) return;
    const end = Math.min(at + ((bytes[at + 4] << 8) | bytes[at + 5]), this.#end(vector, i));
    const message = this.#dns;
    if (!message.parse(bytes, at + UDP_BYTES, end) || !message.isAnswer) return;
    for (let one = 0; one < message.addressCount; one++) {
      const isIpv6 = message.families[one] === 6;
      const { addresses, nameBytes, nameLength, ttlSeconds } = message;
      this.#names.learn(addresses, one * 4, isIpv6, nameBytes, nameLength, ttlSeconds);
    }
  }

  #segment(vector: PacketVector, i: number): void {
    const { bytes } = this.#pool;
    const transport = transportOf(vector, i);
    const from = transport + (bytes[transport + 12] >> 4) * 4;
    const to = Math.min(from + vector.payloads[i], this.#end(vector, i));
    if (from >= to) return;
    const sequence = word(bytes, transport + 4);
    const [source, destination, ports] = [vector.sources[i], vector.destinations[i], vector.ports[i]];
    const mixed = source ^ destination ^ ports;
    const greeting = this.#greetings[(mixed ^ (mixed >>> 16) ^ (mixed >>> 8)) & (GREETINGS - 1)];
    const isNext =
      greeting.isOpen &&
      greeting.next === sequence &&
      greeting.source === source &&
      greeting.destination === destination &&
      greeting.ports === ports;
    if (!isNext) {
      if (!mayGreet(bytes[from])) return;
      greeting.detector.clear();
      greeting.source = source;
      greeting.destination = destination;
      greeting.ports = ports;
    }
    const result = greeting.detector.push(bytes, from, to);
    greeting.next = (sequence + (to - from)) | 0;
    greeting.isOpen = result === Detection.More;
    if (result === Detection.Name) this.#learn(vector, i, greeting.detector);
  }

  #learn(vector: PacketVector, i: number, detector: ProtocolDetector): void {
    const { bytes } = this.#pool;
    const isIpv6 = (vector.metas[i] & META_IPV6) !== 0;
    const at = vector.networks[i] + (isIpv6 ? 24 : 16);
    for (let w = 0; w < 4; w++) this.#address[w] = w === 0 || isIpv6 ? word(bytes, at + w * 4) : 0;
    const length = detector.copyName(this.#found);
    this.#names.learn(this.#address, 0, isIpv6, this.#found, length, GREETING_TTL_SECONDS);
  }

  /** End of the bytes of a packet that are here. */
  #end(vector: PacketVector, i: number): number {
    const { offsets, lengths } = this.#pool.columns;
    const packet = vector.packets[i];
    return offsets[packet] + lengths[packet];
  }
}

/** Whether a payload that begins so can be a greeting: a handshake record, or a capital letter of a method. */
function mayGreet(first: number): boolean {
  return first === HANDSHAKE_RECORD || (first >= 0x41 && first <= 0x5a);
}
