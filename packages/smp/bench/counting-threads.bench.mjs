// Two threads that count events at the same time: counters of their own against one word that both add to.
import { Worker } from "node:worker_threads";
import { PerCpuCounters, WorkerHal } from "@x/smp";

const TURNS = 1_000_000;
const GO = 0;
const DONE = 16;
const hal = WorkerHal.create({ possibleCpus: 3 });
const entry = new URL("./counting-thread.mjs", import.meta.url);

/** Two threads that count `TURNS` events each whenever they are told. */
function pair(kind) {
  const state = new Int32Array(new SharedArrayBuffer(128));
  const counters = PerCpuCounters.create({ names: ["events"], hal }).handle;
  const words = new SharedArrayBuffer(128 * 3);
  const workers = [1, 2].map(
    (cpu) =>
      new Worker(entry, {
        workerData: { kind, cpu, turns: TURNS, state: state.buffer, counters, words, hal: hal.handle },
      }),
  );
  const run = async () => {
    Atomics.store(state, DONE, 0);
    Atomics.add(state, GO, 1);
    Atomics.notify(state, GO);
    for (let done = 0; done < 2; done = Atomics.load(state, DONE)) await Atomics.waitAsync(state, DONE, done).value;
    return state[DONE];
  };
  return { run, stop: () => Promise.all(workers.map((worker) => worker.terminate())) };
}

async function counting() {
  const pairs = { ours: pair("counters"), shared: pair("shared"), plain: pair("plain") };
  return {
    ours: pairs.ours.run,
    peers: { "Atomics.add on one word": pairs.shared.run, "plain add, a word for each": pairs.plain.run },
    teardown: () => Promise.all(Object.values(pairs).map((each) => each.stop())),
  };
}

export default [{ name: "count an event, on two threads at once", unit: "ns/op", ops: TURNS, setup: counting }];
