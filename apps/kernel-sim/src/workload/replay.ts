import type { Capture, PacketPool } from "@x/proxy-dataplane";
import { SimError } from "../errors.ts";
import type { Wire } from "../kernel/net-driver.ts";
import type { Machine } from "../machine/machine.ts";
import type { Nic, PacketSource } from "../machine/nic.ts";
import { findConversations, type ConversationColumns } from "./conversations.ts";
import { CHAIN_SPARE, CHAIN_SPARE_2, CHAIN_WORDS, FarEnd } from "./far-end.ts";
import { clientOf, markOf, MAX_PACKETS, packetOf } from "./marks.ts";
import {
  LEAD_BYTES,
  nextArrivalAt,
  packetRecords,
  RECORD_WORDS,
  RecordFlag,
  Word,
  type PacketRecords,
} from "./packet-records.ts";
import { scheduleArrivals } from "./schedule.ts";

/** Time from a packet's leaving the machine to its answer's arrival at the earliest: two short cables and a fast host. */
const FAR_END_NS = 2_000;
const NOBODY = -1;

/*
 * The spare words of a chain (see far-end.ts): how many packets of the other direction must have left before the next packet
 * may arrive, 0 when none waits; that packet, the other direction in bit 0, and its round; as a double, when it is planned for.
 * In the second line, how many have left, of each direction.
 */
const NEEDED = CHAIN_SPARE;
const WAITING = CHAIN_SPARE + 1;
const WAITING_ROUND = CHAIN_SPARE + 2;
const PLANNED_DOUBLE = 7;
const DEPARTED = CHAIN_SPARE_2;

export interface ReplayOptions {
  readonly machine: Machine;
  readonly nic: Nic;
  readonly pool: PacketPool;
  readonly capture: Capture;
  readonly repeat: number;
  readonly clients: number;
  readonly packetsPerSecond: number;
  /** Only headers come into the buffers; see the scenario's `nic.headerSplit`. */
  readonly headerSplit: boolean;
}

/**
 * Plays a capture into the NIC, `repeat` times, and is the network behind it.
 *
 * Round r is played by client r modulo `clients`. Each conversation of each client is a chain of packets in the capture's
 * order: a packet arrives at its time in the schedule, but not before the packet it answers has left the machine.
 */
export class Replay implements PacketSource, Wire {
  /** Packets put on the wire so far. */
  packets = 0;
  bytes = 0;

  readonly #o: ReplayOptions;
  readonly #columns: ConversationColumns;
  readonly #farEnd: FarEnd;
  /** {@link FarEnd.chains}. */
  readonly #chains: Int32Array;
  readonly #chainDoubles: Float64Array;
  readonly #packets: PacketRecords;
  readonly #records: Int32Array;
  /** The pool's memory as words. */
  readonly #memory: Int32Array;
  readonly #arrivalNs: Float64Array;
  readonly #roundNs: number;
  readonly #device: number;
  #startNs = 0;
  /** The packet that is arriving, its client, chain and direction. */
  #client = 0;
  #chain = 0;
  #isReply = 0;

  constructor(options: ReplayOptions) {
    const { machine, capture, packetsPerSecond, clients, pool } = options;
    if (capture.count > MAX_PACKETS)
      throw new SimError("SIM_INPUT", `holds ${capture.count} packets; ${MAX_PACKETS} can be replayed`);
    this.#o = options;
    this.#columns = findConversations(capture);
    this.#farEnd = new FarEnd(this.#columns, clients);
    this.#chains = this.#farEnd.chains;
    this.#chainDoubles = new Float64Array(this.#chains.buffer);
    const { arrivalNs, roundNs } = scheduleArrivals(capture, packetsPerSecond);
    this.#arrivalNs = arrivalNs;
    this.#roundNs = roundNs;
    const held = heldBytes(capture, this.#columns, pool.bufferBytes, options.headerSplit);
    this.#packets = packetRecords(capture, this.#columns, held, arrivalNs);
    this.#records = this.#packets.records;
    this.#memory = new Int32Array(pool.bytes.buffer, pool.bytes.byteOffset, pool.bytes.length >> 2);
    this.#device = machine.connect({ event: (packet, round) => this.#arrive(packet, round) });
  }

  /** Packets there will be in all. */
  get total(): number {
    return this.#o.capture.count * this.#o.repeat;
  }

  get finished(): boolean {
    return this.packets === this.total;
  }

  /** The first packet arrives at `startNs`. */
  start(startNs: number): void {
    const { clients, repeat, machine } = this.#o;
    this.#startNs = startNs;
    for (const packet of this.#columns.first) {
      if (packet === NOBODY) continue;
      for (let round = 0; round < Math.min(clients, repeat); round++) {
        const plannedNs = this.#plannedNs(round, this.#arrivalNs[packet]);
        machine.deviceEvent(this.#device, plannedNs, packet, round);
      }
    }
  }

  hash(packet: number): number {
    const hasEnds = (this.#records[packet * RECORD_WORDS + Word.Flags] & RecordFlag.HasEnds) !== 0;
    return hasEnds ? this.#farEnd.chainHash(this.#chain, this.#isReply) : this.#columns.hashes[packet];
  }

  /** The card writes to memory by itself, so past the pool's own `write`. */
  write(packet: number, buffer: number): number {
    const { pool, machine } = this.#o;
    const { columns } = pool;
    const records = this.#records;
    const at = packet * RECORD_WORDS;
    const to = columns.offsets[buffer];
    const bytes = records[at + Word.Bytes];
    this.#copy(records[at + Word.Start], to, bytes);
    if ((records[at + Word.Flags] & RecordFlag.HasEnds) !== 0) {
      const network = to + records[at + Word.NetworkOffset];
      this.#farEnd.addressIn(this.#chain, this.#isReply, pool.bytes, network, to + records[at + Word.TransportOffset]);
    }
    columns.lengths[buffer] = bytes;
    columns.wireLengths[buffer] = records[at + Word.WireBytes];
    columns.timestampsNs[buffer] = machine.nowNs;
    columns.linkTypes[buffer] = records[at + Word.LinkType];
    columns.marks[buffer] = markOf(packet, this.#client);
    return bytes;
  }

  /** Word by word where the buffer begins as packets are kept; two bytes of its head room are written then. */
  #copy(start: number, to: number, bytes: number): void {
    const { words, bytes: packed } = this.#packets;
    if ((to & 3) === LEAD_BYTES) copy(words, start, this.#memory, to >> 2, (LEAD_BYTES + bytes + 3) >> 2);
    else copy(packed, start * 4 + LEAD_BYTES, this.#o.pool.bytes, to, bytes);
  }

  address(buffer: number): number {
    return this.#o.pool.columns.offsets[buffer];
  }

  transmitted(buffer: number): void {
    const { bytes, columns } = this.#o.pool;
    const records = this.#records;
    const mark = columns.marks[buffer];
    const at = packetOf(mark) * RECORD_WORDS;
    const flags = records[at + Word.Flags];
    if ((flags & RecordFlag.HasEnds) === 0 || (flags & RecordFlag.IsReply) !== 0) return;
    const chain = records[at + Word.Conversation] * this.#o.clients + clientOf(mark);
    const start = columns.offsets[buffer];
    const network = start + records[at + Word.NetworkOffset];
    this.#farEnd.transmittedIn(chain, bytes, network, start + records[at + Word.TransportOffset]);
  }

  departed(mark: number): void {
    const records = this.#records;
    const chains = this.#chains;
    const at = packetOf(mark) * RECORD_WORDS;
    const chain = (records[at + Word.Conversation] * this.#o.clients + clientOf(mark)) * CHAIN_WORDS;
    const isReply = records[at + Word.Flags] & RecordFlag.IsReply;
    const count = ++chains[chain + DEPARTED + isReply];
    const needed = chains[chain + NEEDED];
    if (needed === 0 || count < needed || (chains[chain + WAITING] & 1) !== isReply) return;
    const next = chains[chain + WAITING] >> 1;
    chains[chain + NEEDED] = 0;
    const { machine } = this.#o;
    const earliestNs = machine.timeNs[machine.current] + FAR_END_NS;
    const plannedNs = this.#chainDoubles[(chain >> 1) + PLANNED_DOUBLE];
    machine.deviceEvent(this.#device, Math.max(plannedNs, earliestNs), next, chains[chain + WAITING_ROUND]);
  }

  #arrive(packet: number, round: number): void {
    const { clients, nic } = this.#o;
    const records = this.#records;
    const at = packet * RECORD_WORDS;
    this.#client = round % clients;
    this.#chain = records[at + Word.Conversation] * clients + this.#client;
    this.#isReply = records[at + Word.Flags] & RecordFlag.IsReply;
    this.packets++;
    this.bytes += records[at + Word.WireBytes];
    const received = nic.receive(packet, this);
    this.#proceed(packet, round);
    if (!received) this.departed(markOf(packet, this.#client));
  }

  /** The chain's next packet: now scheduled, or when the one it answers has left. */
  #proceed(packet: number, round: number): void {
    const { clients, repeat, machine } = this.#o;
    const records = this.#records;
    const at = packet * RECORD_WORDS;
    const next = records[at + Word.Next];
    // A conversation's first packet comes before its last one, or is the only one.
    const nextRound = next <= packet ? round + clients : round;
    if (nextRound >= repeat) return;
    const chain = this.#chain * CHAIN_WORDS;
    const plannedNs = this.#plannedNs(nextRound, this.#packets.doubles[nextArrivalAt(packet)]);
    const answers = records[at + Word.NextAnswers];
    if (answers !== 0) {
      const turn = (nextRound - this.#client) / clients;
      const needed = turn * records[at + Word.Opposite] + answers;
      const opposite = (records[at + Word.Flags] & RecordFlag.NextIsReply) === 0 ? 1 : 0;
      if (this.#chains[chain + DEPARTED + opposite] < needed) {
        this.#chains[chain + NEEDED] = needed;
        this.#chains[chain + WAITING] = next * 2 + opposite;
        this.#chains[chain + WAITING_ROUND] = nextRound;
        this.#chainDoubles[(chain >> 1) + PLANNED_DOUBLE] = plannedNs;
        return;
      }
    }
    machine.deviceEvent(this.#device, Math.max(plannedNs, machine.nowNs), next, nextRound);
  }

  #plannedNs(round: number, arrivalNs: number): number {
    return this.#startNs + round * this.#roundNs + arrivalNs;
  }
}

/** Bytes of each packet that come into the buffers CPUs look at. */
function heldBytes(
  { lengths }: Capture,
  columns: ConversationColumns,
  bufferBytes: number,
  split: boolean,
): Int32Array {
  return Int32Array.from(lengths, (bytes, packet) =>
    Math.min(bytes, bufferBytes, split ? columns.headerBytes[packet] : bytes),
  );
}

/** A loop, because headers are too few words for a view to pay. */
function copy<T extends Int32Array | Uint8Array>(from: T, at: number, to: T, start: number, count: number): void {
  for (let each = 0; each < count; each++) to[start + each] = from[at + each];
}
