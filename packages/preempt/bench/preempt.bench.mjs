import { Preempt, Scheduler } from "@x/preempt";
import { Heap } from "./heap.mjs";

const BATCH = 1024;
const THREADS = 64;
const SLICE_MS = 5;

/** The same loop of cheap work for all, each with a check of its own in each turn; written out, so that each is compiled for its check. */
function checks() {
  const data = new Float64Array(64).fill(1);
  const preempt = Preempt.create();
  const flag = new Int32Array(new SharedArrayBuffer(4));
  let deadline = performance.now() + SLICE_MS;
  return {
    ours: () => {
      let sum = 0;
      for (let i = 0; i < BATCH; i++) {
        sum += data[i & 63];
        if (preempt.check()) sum++;
      }
      return sum;
    },
    peers: {
      "Atomics.load of a flag": () => {
        let sum = 0;
        for (let i = 0; i < BATCH; i++) {
          sum += data[i & 63];
          if (Atomics.load(flag, 0) !== 0) sum++;
        }
        return sum;
      },
      "performance.now() against a deadline": () => {
        let sum = 0;
        for (let i = 0; i < BATCH; i++) {
          sum += data[i & 63];
          if (performance.now() < deadline) continue;
          deadline = performance.now() + SLICE_MS;
          sum++;
        }
        return sum;
      },
    },
  };
}

function sections() {
  const preempt = Preempt.create();
  const lock = new Int32Array(new SharedArrayBuffer(4));
  return {
    ours: () => {
      for (let i = 0; i < BATCH; i++) {
        preempt.disable();
        preempt.enable();
      }
      return preempt.count();
    },
    peers: {
      "compare-exchange lock": () => {
        for (let i = 0; i < BATCH; i++) {
          Atomics.compareExchange(lock, 0, 0, 1);
          Atomics.store(lock, 0, 0);
        }
        return lock[0];
      },
    },
  };
}

/** The running thread blocks, the next of 64 runs, the blocked one wakes. */
function switches() {
  const preempt = Preempt.create();
  const scheduler = Scheduler.create({ preempt });
  for (let i = 0; i < THREADS; i++) scheduler.wake(scheduler.spawn(`t${i}`));
  scheduler.schedule(true);
  const heap = new Heap();
  for (let i = 0; i < THREADS; i++) heap.push({ id: i, priority: 1, order: i });
  let order = THREADS;
  return {
    ours: () => {
      const running = scheduler.current();
      scheduler.block();
      scheduler.schedule(true);
      scheduler.wake(running);
      return running;
    },
    peers: {
      "binary heap of objects (one thread only)": () => {
        const task = heap.pop();
        task.order = order++;
        task.startedAt = performance.now();
        heap.push(task);
        return task.id;
      },
    },
  };
}

export default [
  { name: "preemption point in a loop", unit: "ns/op", ops: BATCH, setup: checks },
  { name: "preempt-disabled section", unit: "ns/op", ops: BATCH, setup: sections },
  { name: "block, switch, wake among 64 threads", unit: "ns/op", setup: switches },
];
