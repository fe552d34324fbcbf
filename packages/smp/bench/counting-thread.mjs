// A thread of counting-threads.bench.mjs: counts events in one way when told to.
import { workerData } from "node:worker_threads";
import { PerCpuCounters, WorkerHal } from "@x/smp";

const { kind, cpu, turns } = workerData;
const state = new Int32Array(workerData.state);
const words = new Int32Array(workerData.words);
const doubles = new Float64Array(workerData.words);
const counters = PerCpuCounters.attach(workerData.counters, { hal: WorkerHal.attach(workerData.hal, { cpu }) });
const [GO, DONE] = [0, 16];
const own = cpu * 16;
const ways = {
  counters: () => {
    for (let turn = 0; turn < turns; turn++) counters.add(0, 1);
  },
  shared: () => {
    for (let turn = 0; turn < turns; turn++) Atomics.add(words, 0, 1);
  },
  plain: () => {
    for (let turn = 0; turn < turns; turn++) doubles[own] += 1;
  },
};

const count = ways[kind];
for (let round = 0; ;) {
  Atomics.wait(state, GO, round);
  round = Atomics.load(state, GO);
  count();
  Atomics.add(state, DONE, 1);
  Atomics.notify(state, DONE);
}
