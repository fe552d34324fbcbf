import type { Capture } from "@x/proxy-dataplane";
import type { Hal } from "@x/smp";
import type { Scenario } from "../experiment/scenario.ts";
import { INDIRECTION_ENTRIES, indirectionTable } from "../machine/nic.ts";
import { findConversations, type ConversationColumns } from "../workload/conversations.ts";
import { FarEnd } from "../workload/far-end.ts";
import { packetMemory, type PacketMemory } from "../workload/ends.ts";
import { replayFrames } from "../workload/frames.ts";
import { ChainQueue } from "./chain-queue.ts";
import { clientOf, markOf, packetOf } from "../workload/marks.ts";
import type { Proxy } from "./proxy.ts";

const NOBODY = -1;
/** Packets of one burst on the wire, after which sleeping CPUs are kicked. */
const BURST = 32;

export interface TrafficOptions {
  readonly hal: Hal;
  readonly proxy: Proxy;
  readonly capture: Capture;
  readonly traffic: Scenario["traffic"];
}

/**
 * The network card and the network behind it, played by the main thread at full speed.
 *
 * Round r is played by client r modulo `clients`. Each conversation of each client is a chain of packets in the capture's
 * order; a packet that answers another is sent when that one has left the machine. The link has flow control (IEEE 802.3,
 * annex 31B): while a receive queue is full, packets for it wait on the wire, so that none is lost by the speed of the host.
 */
export class Traffic {
  /** Packets and bytes put on the wire so far. */
  packets = 0;
  bytes = 0;
  /** Packets that the machine is done with. */
  departures = 0;
  readonly total: number;
  readonly farEnd: FarEnd;
  /** How often packets had to wait because their queue, or the pool, had no room. */
  pauses = 0;

  readonly #o: TrafficOptions;
  readonly #frames: readonly Uint8Array[];
  readonly #columns: ConversationColumns;
  /** The pool's memory. */
  readonly #memory: PacketMemory;
  readonly #indirection: Uint16Array;
  readonly #cpus: number;
  /** By chain: its next packet, that one's round, and the packet whose departure it waits for. */
  readonly #next: Int32Array;
  readonly #round: Int32Array;
  readonly #waitsFor: Int32Array;
  /** By receive queue: the chains whose next packet may be sent and will go there. */
  readonly #ready: readonly ChainQueue[];
  /** By packet and client: rounds in which it has left the machine. */
  readonly #departed: Int32Array;
  readonly #marks = new Int32Array(BURST);
  readonly #touched: Uint8Array;

  constructor(options: TrafficOptions) {
    const { capture, proxy, traffic } = options;
    const { count } = capture;
    const { clients, repeat } = traffic;
    this.#o = options;
    this.total = count * repeat;
    this.#frames = replayFrames(capture);
    this.#columns = findConversations(capture);
    this.farEnd = new FarEnd(this.#columns, clients);
    this.#memory = packetMemory(proxy.pool.bytes);
    this.#cpus = proxy.departed.length;
    const queues = proxy.receive.length;
    this.#indirection = indirectionTable(queues);
    const chains = this.#columns.conversations * clients;
    this.#next = new Int32Array(chains);
    this.#round = new Int32Array(chains);
    this.#waitsFor = new Int32Array(chains).fill(NOBODY);
    this.#ready = proxy.receive.map(() => new ChainQueue(chains));
    this.#departed = new Int32Array(count * clients);
    this.#touched = new Uint8Array(this.#cpus);
    for (const packet of this.#columns.first) {
      if (packet === NOBODY) continue;
      for (let round = 0; round < Math.min(clients, repeat); round++) this.#proceedTo(packet, round);
    }
  }

  get inFlight(): number {
    return this.packets - this.departures;
  }

  /** Everything was sent and has left the machine. */
  get finished(): boolean {
    return this.departures === this.total;
  }

  /** Put up to a burst for each queue on the wire, and wake the CPUs they are for. Returns how many packets. */
  send(): number {
    let sent = 0;
    for (let queue = 0; queue < this.#ready.length; queue++) {
      const count = this.#sendTo(queue);
      if (count > 0) this.#touched[queue % this.#cpus] = 1;
      sent += count;
    }
    if (sent > 0) this.#kick();
    return sent;
  }

  /** Take note of what has left the machine. Returns how many packets. */
  drain(): number {
    let drained = 0;
    for (const ring of this.#o.proxy.departed) {
      const count = ring.take(this.#marks, BURST);
      for (let index = 0; index < count; index++) this.#depart(this.#marks[index]);
      drained += count;
    }
    this.departures += drained;
    return drained;
  }

  #sendTo(queue: number): number {
    const { pool, receive } = this.#o.proxy;
    const ready = this.#ready[queue];
    let sent = 0;
    for (; sent < BURST && !ready.isEmpty; sent++) {
      // Fewer in flight than buffers: so the rings of departures, each as large as the pool, never overflow.
      const buffer = receive[queue].hasRoom && this.inFlight < pool.handle.buffers ? pool.alloc() : 0;
      if (buffer === 0) {
        this.pauses++;
        return sent;
      }
      const chain = ready.take();
      const packet = this.#next[chain];
      const round = this.#round[chain];
      this.#fill(buffer, packet, round % this.#o.traffic.clients);
      receive[queue].push(buffer);
      this.#proceed(packet, round);
    }
    return sent;
  }

  /** The card's part: the packet, as this client sends it, into a buffer. */
  #fill(buffer: number, packet: number, client: number): void {
    const { proxy, capture, hal } = this.#o;
    const { pool } = proxy;
    const { columns } = pool;
    const frame = this.#frames[packet];
    pool.write(buffer, frame, 0, frame.length, capture.wireLengths[packet]);
    this.farEnd.address(packet, client, this.#memory, columns.offsets[buffer]);
    columns.linkTypes[buffer] = capture.linkTypes[packet];
    columns.marks[buffer] = markOf(packet, client);
    columns.timestampsNs[buffer] = hal.now();
    this.packets++;
    this.bytes += frame.length;
  }

  /** The chain's packet was sent: its next one is ready, or waits for what it answers. */
  #proceed(packet: number, round: number): void {
    const { clients, repeat } = this.#o.traffic;
    const after = this.#columns.next[packet];
    const next = after === NOBODY ? this.#columns.first[this.#columns.conversation[packet]] : after;
    const nextRound = after === NOBODY ? round + clients : round;
    if (nextRound < repeat) this.#proceedTo(next, nextRound);
  }

  #proceedTo(packet: number, round: number): void {
    const { clients } = this.#o.traffic;
    const client = round % clients;
    const chain = this.farEnd.chain(packet, client);
    this.#next[chain] = packet;
    this.#round[chain] = round;
    const answered = this.#columns.answers[packet];
    const turn = (round - client) / clients;
    if (answered === NOBODY || this.#departed[answered * clients + client] > turn) this.#putReady(chain);
    else this.#waitsFor[chain] = answered;
  }

  #depart(mark: number): void {
    const packet = packetOf(mark);
    const client = clientOf(mark);
    this.#departed[packet * this.#o.traffic.clients + client]++;
    const chain = this.farEnd.chain(packet, client);
    if (this.#waitsFor[chain] !== packet) return;
    this.#waitsFor[chain] = NOBODY;
    this.#putReady(chain);
  }

  #kick(): void {
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      if (this.#touched[cpu] === 0) continue;
      this.#touched[cpu] = 0;
      this.#o.hal.kick(cpu);
    }
  }

  /** The chain's next packet may be sent. What it answers has departed, so its addresses and its hash are final. */
  #putReady(chain: number): void {
    const packet = this.#next[chain];
    const client = this.#round[chain] % this.#o.traffic.clients;
    const entry = this.farEnd.hash(packet, client) & (INDIRECTION_ENTRIES - 1);
    this.#ready[this.#indirection[entry]].put(chain);
  }
}
