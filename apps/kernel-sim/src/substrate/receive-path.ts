import { Stage, type DataplaneObserver } from "@x/proxy-dataplane";
import type { CpuId } from "@x/smp";
import type { KernelSymbols } from "../kernel/symbols.ts";
import { packetMemory, type PacketMemory } from "../workload/ends.ts";
import type { FarEnd } from "../workload/far-end.ts";
import { SLOT, type Core } from "./core.ts";
import type { CpuClock } from "./cpu-clock.ts";
import { clientOf, packetOf } from "../workload/marks.ts";
import { PacketHash } from "./packet-hash.ts";
import type { Proxy } from "./proxy.ts";
import type { SpscRing } from "./spsc-ring.ts";

export interface ReceivePathOptions {
  readonly core: Core;
  readonly proxy: Proxy;
  readonly farEnd: FarEnd;
  readonly clock: CpuClock;
  readonly cpu: CpuId;
  /** The CPU of the main thread: told when packets have departed. */
  readonly cardCpu: CpuId;
  readonly queues: readonly SpscRing[];
  /** Packets of one poll. */
  readonly budget: number;
  readonly symbols: KernelSymbols;
  readonly firstStage: number;
}

/** What a CPU does with received packets: poll its queues, run the data path, send, tell the card. */
export class ReceivePath {
  readonly #o: ReceivePathOptions;
  readonly #batch: Int32Array;
  readonly #marks: Int32Array;
  readonly #out: Int32Array;
  readonly #hash: PacketHash;
  /** The pool's memory. */
  readonly #memory: PacketMemory;
  readonly #departed: SpscRing;

  constructor(options: ReceivePathOptions) {
    const { budget, proxy, cpu } = options;
    this.#o = options;
    this.#batch = new Int32Array(budget);
    this.#marks = new Int32Array(budget);
    this.#out = new Int32Array(budget * 2);
    this.#memory = packetMemory(proxy.pool.bytes);
    this.#hash = new PacketHash(proxy.pool.bytes.buffer);
    this.#departed = proxy.departed[cpu];
  }

  /** Packets wait. */
  get pending(): boolean {
    for (const queue of this.#o.queues) if (!queue.isEmpty) return true;
    return false;
  }

  /** One pass over the CPU's queues, at most a budget from each. Returns the packets processed. */
  poll(): number {
    let processed = 0;
    for (const queue of this.#o.queues) {
      const count = queue.take(this.#batch, this.#batch.length);
      if (count > 0) this.#process(count);
      processed += count;
    }
    return processed;
  }

  /** Leave the fingerprint of what this CPU sent in shared memory. */
  finish(): void {
    const { core, cpu } = this.#o;
    core.counters.addOn(cpu, SLOT.hashLow, this.#hash.low);
    core.counters.addOn(cpu, SLOT.hashHigh, this.#hash.high);
  }

  #process(count: number): void {
    const { core, proxy, clock, cpu, cardCpu, symbols, firstStage } = this.#o;
    const { stack } = core;
    const { marks } = proxy.pool.columns;
    for (let index = 0; index < count; index++) this.#marks[index] = marks[this.#batch[index]];
    stack.enterOn(cpu, symbols.poll);
    stack.enterOn(cpu, firstStage);
    const sent = proxy.dataplane.process(this.#batch, count, this.#out);
    stack.leaveOn(cpu);
    this.#transmit(sent);
    for (let index = 0; index < count; index++) this.#departed.push(this.#marks[index]);
    clock.sample();
    stack.enterOn(cpu, symbols.wakeup);
    core.hal.kick(cardCpu);
    clock.sample();
    stack.leaveOn(cpu);
    stack.leaveOn(cpu);
  }

  #transmit(count: number): void {
    const { core, proxy, farEnd, clock, cpu, symbols } = this.#o;
    const { pool } = proxy;
    const { offsets, lengths, marks, timestampsNs } = pool.columns;
    const nowNs = clock.sample();
    core.stack.enterOn(cpu, symbols.transmit);
    let bytes = 0;
    for (let index = 0; index < count; index++) {
      const packet = this.#out[index];
      const mark = marks[packet];
      bytes += lengths[packet];
      core.latency.recordOn(cpu, nowNs - timestampsNs[packet]);
      this.#hash.add(offsets[packet], lengths[packet]);
      farEnd.transmitted(packetOf(mark), clientOf(mark), this.#memory, offsets[packet]);
      pool.free(packet);
    }
    core.counters.addOn(cpu, SLOT.sentPackets, count);
    core.counters.addOn(cpu, SLOT.sentBytes, bytes);
    clock.sample();
    core.stack.leaveOn(cpu);
  }
}

/** Keeps the shadow stack at the data path's stage, and tells of new connections. */
export function stageObserver(
  core: Core,
  clock: CpuClock,
  stageSymbols: readonly number[],
  onCreated: (cpu: CpuId) => void,
): DataplaneObserver {
  return {
    onStage(cpu, stage): void {
      clock.sample();
      core.stack.leaveOn(cpu);
      core.stack.enterOn(cpu, stageSymbols[stage === Stage.Transmit ? Stage.Receive : stage + 1]);
    },
    onConnection(cpu, _connection, created): void {
      if (created) onCreated(cpu);
    },
  };
}
