import type { CpuId } from "@x/smp";
import type { Dataplane, PacketPool } from "@x/proxy-dataplane";
import type { LatencyHistogram } from "@x/profiling";
import type { Machine } from "../machine/machine.ts";
import type { Nic } from "../machine/nic.ts";
import { FIRST_DEVICE_VECTOR } from "./vectors.ts";

/** The network outside the machine. */
export interface Wire {
  /** A packet leaves the machine; its bytes are still in the pool. */
  transmitted(packet: number): void;
  /** The machine is done with the packet of this mark, sent or dropped. */
  departed(mark: number): void;
}

export interface NetDriverOptions {
  readonly machine: Machine;
  readonly nic: Nic;
  readonly pool: PacketPool;
  readonly dataplane: Dataplane;
  readonly latency: LatencyHistogram;
  /** Packets of one poll. */
  readonly budget: number;
  /** CPUs that serve queues; queue q belongs to `cpus[q % cpus.length]`. */
  readonly cpus: readonly CpuId[];
  /** Have a queue interrupt a CPU with a vector. */
  readonly routeInterrupt: (queue: number, cpu: CpuId, vector: number) => void;
  /** Which function the CPU is in, for the profiler. */
  readonly enter: (symbol: number) => void;
  readonly leave: () => void;
  readonly symbols: { readonly poll: number; readonly refill: number; readonly transmit: number };
}

/** The network driver: interrupt, polling with a budget, refill, transmit. Queue state is touched by the queue's CPU only. */
export class NetDriver {
  readonly #o: NetDriverOptions;
  /** By CPU, at the place of their vector: its queues, -1 for a vector that has none any more. */
  readonly #queuesOf: readonly number[][];
  /** Which CPU each queue was made for. */
  readonly #home: readonly CpuId[];
  readonly #scheduled: Uint8Array;
  readonly #batch: Int32Array;
  readonly #marks: Int32Array;
  readonly #out: Int32Array;
  readonly #fresh: Int32Array;
  /** What is on the other side of the cable. */
  wire: Wire | undefined;

  constructor(options: NetDriverOptions) {
    const { machine, nic, cpus, budget } = options;
    this.#o = options;
    this.#queuesOf = Array.from({ length: machine.cpuCount }, () => []);
    this.#home = Array.from({ length: nic.queueCount }, (_, queue) => cpus[queue % cpus.length]);
    for (let queue = 0; queue < nic.queueCount; queue++) this.#assign(queue, this.#home[queue]);
    this.#scheduled = new Uint8Array(nic.queueCount);
    this.#batch = new Int32Array(budget);
    this.#marks = new Int32Array(budget);
    this.#out = new Int32Array(budget * 2);
    this.#fresh = new Int32Array(budget);
  }

  /** Queues of a CPU. */
  queues(cpu: CpuId): readonly number[] {
    return this.#queuesOf[cpu].filter((queue) => queue >= 0);
  }

  /** Fill the receive rings of the calling CPU's queues; returns the buffers posted. */
  open(cpu: CpuId): number {
    let posted = 0;
    for (const queue of this.queues(cpu)) posted += this.#refill(queue, this.#o.nic.ringSize);
    return posted;
  }

  /** The interrupt of a queue: no more interrupts, poll instead. */
  interrupt(cpu: CpuId, vector: number): void {
    const queue = this.#queuesOf[cpu][vector - FIRST_DEVICE_VECTOR];
    // The interrupt was on its way while the queue changed hands: whoever has it now was told again.
    if (queue < 0) return;
    this.#o.nic.disableInterrupt(queue);
    this.#scheduled[queue] = 1;
  }

  /** One pass over the CPU's scheduled queues; true when another pass is needed: a queue had as many packets as the budget. */
  poll(cpu: CpuId): boolean {
    let again = false;
    for (const queue of this.#queuesOf[cpu]) {
      if (queue < 0 || this.#scheduled[queue] === 0) continue;
      if (this.#pollQueue(queue) < this.#o.budget) {
        this.#scheduled[queue] = 0;
        this.#o.nic.enableInterrupt(queue);
      } else {
        again = true;
      }
    }
    return again;
  }

  /** The executing CPU, `cpu`, serves no queue any more; `heirs` do by turns. */
  giveAway(cpu: CpuId, heirs: readonly CpuId[]): void {
    for (const [at, queue] of this.queues(cpu).entries()) this.#move(queue, cpu, heirs[at % heirs.length]);
  }

  /** `cpu` serves the queues that were made for it again, whoever does now. */
  takeBack(cpu: CpuId): void {
    for (const [from, queues] of this.#queuesOf.entries()) {
      if (from === cpu) continue;
      for (const queue of queues) if (queue >= 0 && this.#home[queue] === cpu) this.#move(queue, from, cpu);
    }
  }

  #move(queue: number, from: CpuId, to: CpuId): void {
    const queues = this.#queuesOf[from];
    queues[queues.indexOf(queue)] = -1;
    this.#assign(queue, to);
    // A poll that was due on `from` will not come: the new CPU is interrupted instead if packets wait.
    this.#scheduled[queue] = 0;
    this.#o.nic.enableInterrupt(queue);
  }

  #assign(queue: number, cpu: CpuId): void {
    const queues = this.#queuesOf[cpu];
    const free = queues.indexOf(-1);
    const place = free < 0 ? queues.length : free;
    queues[place] = queue;
    this.#o.routeInterrupt(queue, cpu, FIRST_DEVICE_VECTOR + place);
  }

  #pollQueue(queue: number): number {
    const { machine, nic, dataplane, budget, symbols, enter, leave } = this.#o;
    const count = nic.take(queue, this.#batch, budget);
    enter(symbols.poll);
    machine.charge(machine.costs.napiPollNs);
    if (count > 0) {
      machine.charge(machine.costs.receivePacketNs * count);
      this.#noteMarks(count);
      const sent = dataplane.process(this.#batch, count, this.#out);
      this.#transmit(sent);
      this.#tellDepartures(count);
      enter(symbols.refill);
      this.#refill(queue, count);
      leave();
    }
    leave();
    return count;
  }

  /** Who the packets are: their buffers may be others' when they depart. */
  #noteMarks(count: number): void {
    const { marks } = this.#o.pool.columns;
    for (let index = 0; index < count; index++) this.#marks[index] = marks[this.#batch[index]];
  }

  #tellDepartures(count: number): void {
    const { wire } = this;
    if (wire === undefined) return;
    const marks = this.#marks;
    for (let index = 0; index < count; index++) wire.departed(marks[index]);
  }

  #transmit(count: number): void {
    const { machine, nic, pool, latency, symbols, enter, leave } = this.#o;
    const { wire } = this;
    const { wireLengths, timestampsNs } = pool.columns;
    const out = this.#out;
    enter(symbols.transmit);
    machine.charge(machine.costs.transmitPacketNs * count);
    const cpu = machine.current;
    const nowNs = machine.timeNs[cpu];
    let bytes = 0;
    for (let index = 0; index < count; index++) {
      const packet = out[index];
      bytes += wireLengths[packet];
      latency.recordOn(cpu, Math.round(nowNs - timestampsNs[packet]));
      wire?.transmitted(packet);
    }
    nic.transmit(count, bytes);
    pool.freeMany(out, count);
    leave();
  }

  #refill(queue: number, wanted: number): number {
    const { nic, pool } = this.#o;
    for (let posted = 0; posted < wanted;) {
      const count = pool.allocMany(this.#fresh, Math.min(wanted - posted, this.#fresh.length));
      if (count === 0) return posted;
      const taken = nic.post(queue, this.#fresh, count);
      posted += taken;
      if (taken === count) continue;
      for (let index = taken; index < count; index++) pool.free(this.#fresh[index]);
      return posted;
    }
    return wanted;
  }
}
