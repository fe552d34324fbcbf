import type { Capture, PacketPool } from "@x/proxy-dataplane";
import type { Wire } from "../kernel/net-driver.ts";
import type { Machine } from "../machine/machine.ts";
import type { Nic, PacketSource } from "../machine/nic.ts";
import { findConversations, type ConversationColumns } from "./conversations.ts";
import { FarEnd } from "./far-end.ts";
import { replayFrames } from "./frames.ts";
import { clientOf, markOf, packetOf } from "./marks.ts";
import { scheduleArrivals } from "./schedule.ts";

/** Time from a packet's leaving the machine to its answer's arrival at the earliest: two short cables and a fast host. */
const FAR_END_NS = 2_000;
const NOBODY = -1;
const STEP_WORDS = 4;
const WAIT_WORDS = 4;

export interface ReplayOptions {
  readonly machine: Machine;
  readonly nic: Nic;
  readonly pool: PacketPool;
  readonly capture: Capture;
  readonly repeat: number;
  readonly clients: number;
  readonly packetsPerSecond: number;
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
  readonly #frames: readonly Uint8Array[];
  readonly #columns: ConversationColumns;
  readonly #farEnd: FarEnd;
  readonly #arrivalNs: Float64Array;
  readonly #roundNs: number;
  readonly #device: number;
  /** By packet, {@link STEP_WORDS} words: its conversation, the packet after it, the packet that one answers. */
  readonly #steps: Int32Array;
  /** By chain, {@link WAIT_WORDS} words: the packet whose departure it waits for, the packet that waits, its round. */
  readonly #waits: Int32Array;
  /** By packet and client: rounds in which it has left the machine. */
  readonly #departures: Int32Array;
  #startNs = 0;
  #client = 0;

  constructor(options: ReplayOptions) {
    const { machine, capture, packetsPerSecond, clients } = options;
    const { count } = capture;
    this.#o = options;
    this.#frames = replayFrames(capture);
    this.#columns = findConversations(capture);
    this.#farEnd = new FarEnd(this.#columns, clients);
    const { arrivalNs, roundNs } = scheduleArrivals(capture, packetsPerSecond);
    this.#arrivalNs = arrivalNs;
    this.#roundNs = roundNs;
    const chains = this.#columns.conversations * clients;
    this.#waits = new Int32Array(chains * WAIT_WORDS).fill(NOBODY);
    this.#steps = stepsOf(this.#columns);
    this.#departures = new Int32Array(count * clients);
    this.#device = machine.connect({ event: (packet, round) => this.#arrive(packet, round) });
  }

  /** Packets there will be in all. */
  get total(): number {
    return this.#frames.length * this.#o.repeat;
  }

  get finished(): boolean {
    return this.packets === this.total;
  }

  /** The first packet arrives at `startNs`. */
  start(startNs: number): void {
    const { clients, repeat } = this.#o;
    this.#startNs = startNs;
    for (const packet of this.#columns.first) {
      if (packet === NOBODY) continue;
      for (let round = 0; round < Math.min(clients, repeat); round++) this.#schedule(packet, round, startNs);
    }
  }

  hash(packet: number): number {
    return this.#farEnd.hash(packet, this.#client);
  }

  write(packet: number, buffer: number): number {
    const { pool, machine, capture } = this.#o;
    const frame = this.#frames[packet];
    const { columns } = pool;
    pool.write(buffer, frame, 0, frame.length, capture.wireLengths[packet]);
    this.#farEnd.address(packet, this.#client, pool.bytes, columns.offsets[buffer]);
    columns.timestampsNs[buffer] = machine.nowNs;
    columns.linkTypes[buffer] = capture.linkTypes[packet];
    columns.marks[buffer] = markOf(packet, this.#client);
    return frame.length;
  }

  address(buffer: number): number {
    return this.#o.pool.columns.offsets[buffer];
  }

  transmitted(buffer: number): void {
    const { bytes, columns } = this.#o.pool;
    const mark = columns.marks[buffer];
    this.#farEnd.transmitted(packetOf(mark), clientOf(mark), bytes, columns.offsets[buffer]);
  }

  departed(mark: number): void {
    const packet = packetOf(mark);
    const client = clientOf(mark);
    this.#departures[packet * this.#o.clients + client]++;
    const wait = this.#farEnd.chain(packet, client) * WAIT_WORDS;
    if (this.#waits[wait] !== packet) return;
    this.#waits[wait] = NOBODY;
    const { machine } = this.#o;
    this.#schedule(this.#waits[wait + 1], this.#waits[wait + 2], machine.timeNs[machine.current] + FAR_END_NS);
  }

  #arrive(packet: number, round: number): void {
    this.#client = round % this.#o.clients;
    this.packets++;
    this.bytes += this.#frames[packet].length;
    const received = this.#o.nic.receive(packet, this);
    this.#proceed(packet, round);
    if (!received) this.departed(markOf(packet, this.#client));
  }

  /** The chain's next packet: now scheduled, or when the one it answers has left. */
  #proceed(packet: number, round: number): void {
    const { clients, repeat, machine } = this.#o;
    const client = round % clients;
    const step = packet * STEP_WORDS;
    const conversation = this.#steps[step];
    const next = this.#steps[step + 1];
    const answered = this.#steps[step + 2];
    // A conversation's first packet comes before its last one, or is the only one.
    const nextRound = next <= packet ? round + clients : round;
    if (nextRound >= repeat) return;
    const turn = (nextRound - client) / clients;
    if (answered === NOBODY || this.#departures[answered * clients + client] > turn) {
      this.#schedule(next, nextRound, machine.nowNs);
      return;
    }
    const wait = (conversation * clients + client) * WAIT_WORDS;
    this.#waits[wait] = answered;
    this.#waits[wait + 1] = next;
    this.#waits[wait + 2] = nextRound;
  }

  #schedule(packet: number, round: number, earliestNs: number): void {
    const plannedNs = this.#startNs + round * this.#roundNs + this.#arrivalNs[packet];
    this.#o.machine.deviceEvent(this.#device, Math.max(plannedNs, earliestNs), packet, round);
  }
}

/** What {@link Replay} needs at each packet, side by side: after a conversation's last packet comes its first. */
function stepsOf({ conversation, next, first, answers }: ConversationColumns): Int32Array {
  const steps = new Int32Array(conversation.length * STEP_WORDS);
  for (const [packet, id] of conversation.entries()) {
    const after = next[packet] === NOBODY ? first[id] : next[packet];
    steps.set([id, after, answers[after]], packet * STEP_WORDS);
  }
  return steps;
}
