// Per-CPU counters, spin locks and masks against what a user would write by hand, and a published mutex.
import { availableParallelism } from "node:os";
import { CpuMask, PerCpuCounters, SpinLocks, WorkerHal } from "@x/smp";

// The package reads `navigator` while it loads; Node.js has it since version 21.
globalThis.navigator ??= { hardwareConcurrency: availableParallelism() };
const { Mutex } = await import("multithreading");

const hal = WorkerHal.create({ possibleCpus: 4 });
const BATCH = 1000;

function countAnEvent() {
  const counters = PerCpuCounters.create({ names: ["events"], hal });
  const shared = new Int32Array(new SharedArrayBuffer(4));
  return {
    ours: () => {
      for (let i = 0; i < BATCH; i++) counters.add(0, 1);
      return counters.read(0, 0);
    },
    peers: {
      "Atomics.add on one word": () => {
        for (let i = 0; i < BATCH; i++) Atomics.add(shared, 0, 1);
        return shared[0];
      },
    },
  };
}

function lockAndUnlock() {
  const locks = SpinLocks.create({ hal });
  const word = new Int32Array(new SharedArrayBuffer(4));
  const mutex = new Mutex(new Int32Array(new SharedArrayBuffer(4)));
  return {
    ours: () => {
      for (let i = 0; i < BATCH; i++) {
        locks.lock();
        locks.unlock();
      }
      return locks.isLocked();
    },
    peers: {
      "bare compareExchange": () => {
        for (let i = 0; i < BATCH; i++) {
          while (Atomics.compareExchange(word, 0, 0, 1) !== 0);
          Atomics.store(word, 0, 0);
        }
        return word[0];
      },
      "multithreading Mutex": () => {
        for (let i = 0; i < BATCH; i++) mutex.blockingLock()[Symbol.dispose]();
        return mutex;
      },
    },
  };
}

function walkAMask() {
  const chosen = Array.from({ length: 64 }, (_, index) => index * 4 + 1);
  const mask = CpuMask.of(256, chosen);
  const set = new Set(chosen);
  const bits = chosen.reduce((all, cpu) => all | (1n << BigInt(cpu)), 0n);
  return {
    ours: () => {
      let sum = 0;
      for (let cpu = mask.first(); cpu >= 0; cpu = mask.next(cpu)) sum += cpu;
      return sum;
    },
    peers: {
      "Set of numbers": () => {
        let sum = 0;
        for (const cpu of set) sum += cpu;
        return sum;
      },
      BigInt: () => {
        let sum = 0;
        for (let cpu = 0; cpu < 256; cpu++) if ((bits >> BigInt(cpu)) & 1n) sum += cpu;
        return sum;
      },
    },
  };
}

export default [
  { name: "count an event", unit: "ns/op", ops: BATCH, setup: async () => countAnEvent() },
  { name: "lock and unlock, uncontended", unit: "ns/op", ops: BATCH, setup: async () => lockAndUnlock() },
  { name: "next of 64 CPUs in a mask of 256", unit: "ns/op", ops: 64, setup: async () => walkAMask() },
];
