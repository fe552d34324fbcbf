import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { describe, expect, it } from "vitest";
import { jsonCodec, Rcu, RcuCell, RcuList, type RcuFlavour } from "../src/index.ts";
import {
  AGE,
  at,
  BLOCK_WORDS,
  BLOCKS,
  COUNTER,
  FIRST,
  memoryBytes,
  POISON,
  State,
  stateAt,
} from "./fixtures/churn-layout.mjs";

/** `RCU_TORTURE_SECONDS=60` gives each flavour a minute. */
const SECONDS = Number(process.env["RCU_TORTURE_SECONDS"] ?? 1);
const WORKERS = [1, 2, 3];
const NODES = 64;

class Torture {
  readonly words = new Int32Array(new SharedArrayBuffer(memoryBytes));
  readonly hal = WorkerHal.create({ possibleCpus: WORKERS.length + 1 });
  readonly rcu: Rcu;
  readonly cell: RcuCell<{ n: number; text: string; again: number }>;
  readonly list: RcuList;
  killed = 0;
  left = 0;
  #seed = 1;
  #ending = false;

  constructor(flavour: RcuFlavour) {
    const { hal } = this;
    this.rcu = Rcu.create({ hal, flavour, stallTimeoutNs: 30e9 });
    this.cell = RcuCell.create({
      rcu: this.rcu,
      codec: jsonCodec,
      initial: { n: 0, text: "", again: 0 },
      maxBytes: 256,
    });
    this.list = RcuList.create({ rcu: this.rcu, capacity: NODES, payloadBytes: 8 });
    this.words[stateAt(0)] = State.published;
    for (let block = 1; block < BLOCKS; block++) this.#poison(block);
  }

  async run(): Promise<void> {
    const end = performance.now() + SECONDS * 1000;
    await Promise.all(WORKERS.map((cpu) => this.#lives(cpu, end)));
    this.#ending = true;
  }

  /** One life after the other on `cpu`; all but the last of each are ended by leaving or by death, in turns. */
  async #lives(cpu: number, end: number): Promise<void> {
    for (let life = 0; !this.#ending; life++) {
      Atomics.store(this.words, COUNTER.leave + cpu, 0);
      const worker = this.#start(cpu);
      const exit = once(worker, "exit");
      await Promise.race([once(worker, "message"), exit]);
      await new Promise((resolve) => setTimeout(resolve, 20 + ((life * 37 + cpu * 53) % 150)));
      const over = life > 0 && performance.now() > end;
      if (over || life % 3 === 2) {
        Atomics.store(this.words, COUNTER.leave + cpu, 1);
        const [code] = (await exit) as [number];
        if (code !== 0) throw new Error(`the thread of CPU ${cpu} ended with exit code ${code}`);
        this.left++;
      } else {
        await worker.terminate();
        this.killed++;
      }
      await this.#bury(cpu);
      if (over) return;
    }
  }

  #start(cpu: number): Worker {
    const { rcu, cell, list, words, hal } = this;
    const handles = { halHandle: hal.handle, rcuHandle: rcu.handle, cellHandle: cell.handle, listHandle: list.handle };
    const workerData = { ...handles, memory: words.buffer, cpu, seed: (this.#seed += 7919) };
    return new Worker(new URL("fixtures/churn.mjs", import.meta.url), { workerData });
  }

  /** What the dead thread had: its place among the readers, locks, nodes, and blocks it had taken or not yet released. */
  async #bury(cpu: number): Promise<void> {
    const { rcu, words } = this;
    rcu.reportDead(cpu);
    this.cell.reportDead(cpu);
    this.list.reportDead(cpu);
    for (let block = 0; block < BLOCKS; block++) {
      const state = Atomics.load(words, stateAt(block));
      const its = state === State.taken + cpu || state === State.retired + cpu;
      if (its && Atomics.load(words, 0) === block) Atomics.store(words, stateAt(block), State.published);
    }
    await rcu.synchronize();
    for (let block = 0; block < BLOCKS; block++) {
      const state = Atomics.load(words, stateAt(block));
      if (state === State.taken + cpu || state === State.retired + cpu) this.#poison(block);
    }
  }

  #poison(block: number): void {
    Atomics.store(this.words, at(block) + AGE, 2);
    this.words.fill(POISON, at(block) + FIRST, at(block) + BLOCK_WORDS);
    Atomics.store(this.words, stateAt(block), State.free);
  }

  ages(): number[] {
    return Array.from(this.words.subarray(COUNTER.age0, COUNTER.age0 + 4), (count) => count >>> 0);
  }

  freeBlocks(): number {
    return Array.from({ length: BLOCKS }, (_, block) => this.words[stateAt(block)]).filter((s) => s === State.free)
      .length;
  }

  /** Nodes that can be had once every removed one has waited. */
  async spareNodes(): Promise<number> {
    await this.rcu.synchronize();
    let spare = 0;
    while (this.list.allocate() !== 0) spare++;
    return spare;
  }
}

const flavours: RcuFlavour[] = ["qsbr", "memory-barrier", "sleepable"];

describe.each(flavours)("threads that come, go and die, flavour %s", (flavour) => {
  it(
    "see nothing older than one grace period, nothing half made, and leak neither blocks nor nodes",
    { timeout: SECONDS * 2000 + 120_000 },
    async () => {
      const torture = new Torture(flavour);
      await torture.run();
      const { words, killed, left, list, cell, rcu } = torture;
      const ages = torture.ages();
      const summary = { flavour, ages, killed, left, updates: words[COUNTER.updates], ...rcu.stats() };
      if (SECONDS > 1) process.stdout.write(`${JSON.stringify(summary)}\n`);
      expect(words[COUNTER.torn]).toBe(0);
      expect(ages[0]).toBeGreaterThan(0);
      expect(ages.slice(2)).toEqual([0, 0]);
      expect(torture.freeBlocks()).toBe(BLOCKS - 1);
      expect((await torture.spareNodes()) + list.size).toBe(NODES);
      expect(cell.version).toBeGreaterThanOrEqual(words[COUNTER.cellUpdates] + 1);
      expect(rcu.stats().callbacksPending).toBe(0);
      expect(killed).toBeGreaterThan(0);
    },
  );
});
