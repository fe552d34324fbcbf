import type { Capture, PacketPool } from "@x/proxy-dataplane";
import { SimError } from "../errors.ts";
import type { Wire } from "../kernel/net-driver.ts";
import type { Device, Machine } from "../machine/machine.ts";
import { HEADER_BUFFER_BYTES, type Nic, type PacketSource } from "../machine/nic.ts";
import type { ConversationColumns } from "./conversations.ts";
import { packetMemory, type PacketMemory } from "./ends.ts";
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
 * The spare words of a chain (see far-end.ts), of its second line: how many packets have left, of each direction; how many of the
 * other direction must have left before the next packet may arrive, 0 when none waits; that packet, the other direction in bit
 * 0, and its round. Of its first line, as a double: when that packet is planned for.
 */
const DEPARTED = CHAIN_SPARE_2;
const NEEDED = CHAIN_SPARE_2 + 2;
const WAITING = CHAIN_SPARE_2 + 3;
const WAITING_ROUND = CHAIN_SPARE_2 + 4;
const PLANNED_DOUBLE = (CHAIN_SPARE + 3) >> 1;

/* A module's own constants are folded into the code; imported ones are loaded and checked each time. */
const WORDS = RECORD_WORDS;
const CHAIN = CHAIN_WORDS;
const { Conversation, Next, NextAnswers, Opposite, Flags, Start, Bytes, WireBytes, LinkType } = Word;
const { NetworkOffset, TransportOffset } = Word;
const { IsReply, NextIsReply, HasEnds } = RecordFlag;
const LEAD = LEAD_BYTES;

export interface ReplayOptions {
  readonly machine: Machine;
  readonly nic: Nic;
  readonly pool: PacketPool;
  readonly capture: Capture;
  /** `findConversations` of the capture. */
  readonly columns: ConversationColumns;
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
export class Replay implements Device, PacketSource, Wire {
  /** Packets put on the wire so far. */
  packets = 0;
  bytes = 0;
  /** Packets there will be in all. */
  readonly total: number;

  readonly #o: ReplayOptions;
  readonly #machine: Machine;
  readonly #nic: Nic;
  readonly #pool: PacketPool;
  readonly #clients: number;
  readonly #columns: ConversationColumns;
  readonly #farEnd: FarEnd;
  /** {@link FarEnd.chains}. */
  readonly #chains: Int32Array;
  readonly #chainDoubles: Float64Array;
  readonly #packets: PacketRecords;
  readonly #records: Int32Array;
  /** The pool's memory. */
  readonly #memory: PacketMemory;
  readonly #arrivalNs: Float64Array;
  readonly #roundNs: number;
  readonly #device: number;
  #startNs = 0;
  /** The packet that is arriving, its client, chain and direction. */
  #client = 0;
  #chain = 0;
  #isReply = 0;

  constructor(options: ReplayOptions) {
    const { machine, capture, packetsPerSecond, clients, pool, nic } = options;
    if (capture.count > MAX_PACKETS)
      throw new SimError("SIM_INPUT", `holds ${capture.count} packets; ${MAX_PACKETS} can be replayed`);
    this.#o = options;
    this.total = capture.count * options.repeat;
    this.#machine = machine;
    this.#nic = nic;
    this.#pool = pool;
    this.#clients = clients;
    this.#columns = options.columns;
    this.#farEnd = new FarEnd(this.#columns, clients);
    this.#chains = this.#farEnd.chains;
    this.#chainDoubles = new Float64Array(this.#chains.buffer);
    const { arrivalNs, roundNs } = scheduleArrivals(capture, packetsPerSecond);
    this.#arrivalNs = arrivalNs;
    this.#roundNs = roundNs;
    const held = heldBytes(capture, this.#columns, pool.bufferBytes, options.headerSplit);
    this.#packets = packetRecords(capture, this.#columns, held, arrivalNs);
    this.#records = this.#packets.records;
    this.#memory = packetMemory(pool.bytes);
    this.#device = machine.connect(this);
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
    const hasEnds = (this.#records[packet * WORDS + Flags] & HasEnds) !== 0;
    return hasEnds ? this.#farEnd.chainHash(this.#chain, this.#isReply) : this.#columns.hashes[packet];
  }

  /** The card writes to memory by itself, so past the pool's own `write`. */
  write(packet: number, buffer: number): number {
    const { columns } = this.#pool;
    const records = this.#records;
    const at = packet * WORDS;
    const to = columns.offsets[buffer];
    const bytes = records[at + Bytes];
    this.#copy(records[at + Start], to, bytes);
    const flags = records[at + Flags];
    if ((flags & HasEnds) !== 0) {
      const network = to + records[at + NetworkOffset];
      const transport = to + records[at + TransportOffset];
      this.#farEnd.addressIn(this.#chain, this.#isReply, this.#memory, network, transport, flags);
    }
    columns.lengths[buffer] = bytes;
    columns.wireLengths[buffer] = records[at + WireBytes];
    columns.timestampsNs[buffer] = this.#machine.nowNs;
    columns.linkTypes[buffer] = records[at + LinkType];
    columns.marks[buffer] = markOf(packet, this.#client);
    return bytes;
  }

  /** Word by word where the buffer begins as packets are kept; two bytes of its head room are written then. */
  #copy(start: number, to: number, bytes: number): void {
    const { words, bytes: packed } = this.#packets;
    if ((to & 3) === LEAD) copyWords(words, start, this.#memory.words, to >> 2, (LEAD + bytes + 3) >> 2);
    else {
      const into = this.#pool.bytes;
      for (let at = 0; at < bytes; at++) into[to + at] = packed[start * 4 + LEAD + at];
    }
  }

  address(buffer: number): number {
    return this.#pool.columns.offsets[buffer];
  }

  transmitted(buffer: number): void {
    const { columns } = this.#pool;
    const records = this.#records;
    const mark = columns.marks[buffer];
    const at = packetOf(mark) * WORDS;
    const flags = records[at + Flags];
    if ((flags & (HasEnds | IsReply)) !== HasEnds) return;
    const chain = records[at + Conversation] * this.#clients + clientOf(mark);
    const start = columns.offsets[buffer];
    const network = start + records[at + NetworkOffset];
    this.#farEnd.transmittedIn(chain, this.#memory, network, start + records[at + TransportOffset], flags);
  }

  departed(mark: number): void {
    const records = this.#records;
    const chains = this.#chains;
    const at = packetOf(mark) * WORDS;
    const chain = (records[at + Conversation] * this.#clients + clientOf(mark)) * CHAIN;
    const isReply = records[at + Flags] & IsReply;
    const count = ++chains[chain + DEPARTED + isReply];
    const needed = chains[chain + NEEDED];
    if (needed === 0 || count < needed || (chains[chain + WAITING] & 1) !== isReply) return;
    const next = chains[chain + WAITING] >> 1;
    chains[chain + NEEDED] = 0;
    const machine = this.#machine;
    const earliestNs = machine.timeNs[machine.current] + FAR_END_NS;
    const plannedNs = this.#chainDoubles[(chain >> 1) + PLANNED_DOUBLE];
    machine.deviceEvent(this.#device, Math.max(plannedNs, earliestNs), next, chains[chain + WAITING_ROUND]);
  }

  /** The packet arrives in a round: its event. */
  event(packet: number, round: number): void {
    const clients = this.#clients;
    const records = this.#records;
    const at = packet * WORDS;
    this.#client = round % clients;
    this.#chain = records[at + Conversation] * clients + this.#client;
    this.#isReply = records[at + Flags] & IsReply;
    this.packets++;
    this.bytes += records[at + WireBytes];
    const received = this.#nic.receive(packet, this);
    this.#proceed(packet, round);
    if (!received) this.departed(markOf(packet, this.#client));
  }

  /** The chain's next packet: now scheduled, or when the one it answers has left. */
  #proceed(packet: number, round: number): void {
    const clients = this.#clients;
    const records = this.#records;
    const at = packet * WORDS;
    const next = records[at + Next];
    // A conversation's first packet comes before its last one, or is the only one.
    const nextRound = next <= packet ? round + clients : round;
    if (nextRound >= this.#o.repeat) return;
    const chain = this.#chain * CHAIN;
    const chains = this.#chains;
    const plannedNs = this.#plannedNs(nextRound, this.#packets.doubles[nextArrivalAt(packet)]);
    const answers = records[at + NextAnswers];
    if (answers !== 0) {
      const turn = ((nextRound - this.#client) / clients) | 0;
      const needed = turn * records[at + Opposite] + answers;
      const opposite = (records[at + Flags] & NextIsReply) === 0 ? 1 : 0;
      if (chains[chain + DEPARTED + opposite] < needed) {
        chains[chain + NEEDED] = needed;
        chains[chain + WAITING] = next * 2 + opposite;
        chains[chain + WAITING_ROUND] = nextRound;
        this.#chainDoubles[(chain >> 1) + PLANNED_DOUBLE] = plannedNs;
        return;
      }
    }
    const machine = this.#machine;
    machine.deviceEvent(this.#device, Math.max(plannedNs, machine.nowNs), next, nextRound);
  }

  #plannedNs(round: number, arrivalNs: number): number {
    return this.#startNs + round * this.#roundNs + arrivalNs;
  }
}

/**
 * Bytes of each packet that come into the buffers CPUs look at. The card splits a packet only when its headers fit a header
 * buffer; others come whole (Intel 82599 data sheet, header splitting: HBO, header buffer overflow).
 */
function heldBytes(
  { lengths }: Capture,
  columns: ConversationColumns,
  bufferBytes: number,
  split: boolean,
): Int32Array {
  const { conversation, conversations, headerBytes } = columns;
  return Int32Array.from(lengths, (bytes, packet) => {
    const header = headerBytes[packet];
    if (!split || header > HEADER_BUFFER_BYTES) return Math.min(bytes, bufferBytes);
    return conversation[packet] < conversations - 1 ? header : Math.min(bytes, HEADER_BUFFER_BYTES);
  });
}

/** A loop, because headers are too few words for a view to pay; by fours, because the engine checks the arrays in each turn. */
function copyWords(from: Int32Array, at: number, to: Int32Array, start: number, count: number): void {
  let each = 0;
  for (; each + 4 <= count; each += 4) {
    const source = at + each;
    const target = start + each;
    to[target] = from[source];
    to[target + 1] = from[source + 1];
    to[target + 2] = from[source + 2];
    to[target + 3] = from[source + 3];
  }
  for (; each < count; each++) to[start + each] = from[at + each];
}
