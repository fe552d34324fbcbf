// Per-CPU counters, uncontended locks and masks against what a user would write by hand, and published locks.
import { availableParallelism } from "node:os";
import {
  CpuMask,
  McsLocks,
  Mutexes,
  PerCpuCounters,
  RwLocks,
  SeqLocks,
  SpinLocks,
  TicketLocks,
  WorkerHal,
} from "@x/smp";

// The package reads `navigator` while it loads; Node.js has it since version 21.
globalThis.navigator ??= { hardwareConcurrency: availableParallelism() };
const { Mutex, RwLock } = await import("multithreading");

const hal = WorkerHal.create({ possibleCpus: 4 });
const BATCH = 1000;

function countAnEvent() {
  const counters = PerCpuCounters.create({ names: ["events"], hal });
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const plain = new Float64Array(new SharedArrayBuffer(8));
  return {
    ours: () => {
      for (let i = 0; i < BATCH; i++) counters.add(0, 1);
      return counters.read(0, 0);
    },
    peers: {
      "plain add to one word": () => {
        for (let i = 0; i < BATCH; i++) plain[0] += 1;
        return plain[0];
      },
      "Atomics.add on one word": () => {
        for (let i = 0; i < BATCH; i++) Atomics.add(shared, 0, 1);
        return shared[0];
      },
    },
  };
}

/** What nobody can do without: take by compare-exchange, give back by a store, or by another compare-exchange. */
function bare() {
  const word = new Int32Array(new SharedArrayBuffer(4));
  return {
    "bare compareExchange, store": () => {
      for (let i = 0; i < BATCH; i++) {
        while (Atomics.compareExchange(word, 0, 0, 1) !== 0);
        Atomics.store(word, 0, 0);
      }
      return word[0];
    },
    "bare compareExchange twice": () => {
      for (let i = 0; i < BATCH; i++) {
        while (Atomics.compareExchange(word, 0, 0, 1) !== 0);
        Atomics.compareExchange(word, 0, 1, 0);
      }
      return word[0];
    },
  };
}

const guarded = (take) => () => {
  for (let i = 0; i < BATCH; i++) take()[Symbol.dispose]();
  return take;
};

/** Text of its own for each kind: one loop for all would know too many kinds to be compiled for any. */
const loopOf = (locks) =>
  // oxlint-disable-next-line no-implied-eval -- the text is ours
  new Function(
    "locks",
    `return function ${locks.kind}() { for (let i = 0; i < ${BATCH}; i++) { locks.lock(); locks.unlock(); } return locks; }`,
  )(locks);

function lockAndUnlock(Locks) {
  const locks = Locks.create({ hal });
  const mutex = new Mutex(new Int32Array(new SharedArrayBuffer(4)));
  return {
    ours: loopOf(locks),
    peers: { ...bare(), "multithreading Mutex": guarded(() => mutex.blockingLock()) },
  };
}

function readAndEnd() {
  const locks = RwLocks.create({ hal });
  const peer = new RwLock(new Int32Array(new SharedArrayBuffer(4)));
  return {
    ours: () => {
      for (let i = 0; i < BATCH; i++) {
        locks.lockShared();
        locks.unlockShared();
      }
      return locks.readers();
    },
    peers: { ...bare(), "multithreading RwLock": guarded(() => peer.blockingRead()) },
  };
}

function readASequence() {
  const locks = SeqLocks.create({ hal });
  const data = new Int32Array(new SharedArrayBuffer(8));
  const copy = new Int32Array(2);
  const peer = new RwLock(new Int32Array(new SharedArrayBuffer(4)));
  return {
    ours: () => {
      for (let i = 0; i < BATCH; i++) locks.read(copy, data);
      return copy;
    },
    peers: { "multithreading RwLock": guarded(() => peer.blockingRead()) },
  };
}

function walkAMask(walk) {
  const chosen = Array.from({ length: 64 }, (_, index) => index * 4 + 1);
  const mask = CpuMask.of(256, chosen);
  const set = new Set(chosen);
  const bits = chosen.reduce((all, cpu) => all | (1n << BigInt(cpu)), 0n);
  return {
    ours: () => walk(mask),
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

function byNext(mask) {
  let sum = 0;
  for (let cpu = mask.first(); cpu >= 0; cpu = mask.next(cpu)) sum += cpu;
  return sum;
}

let visited = 0;
const visit = (cpu) => {
  visited += cpu;
};
function byForEach(mask) {
  visited = 0;
  mask.forEach(visit);
  return visited;
}

function combineMasks() {
  const odd = Array.from({ length: 128 }, (_, index) => index * 2 + 1);
  const third = Array.from({ length: 86 }, (_, index) => index * 3);
  const [a, b, into] = [CpuMask.of(256, odd), CpuMask.of(256, third), new CpuMask(256)];
  const [setA, setB] = [new Set(odd), new Set(third)];
  return {
    ours: () => into.copy(a).and(b).count(),
    peers: {
      "Set of numbers": () => {
        const both = new Set();
        for (const cpu of setA) if (setB.has(cpu)) both.add(cpu);
        return both.size;
      },
    },
  };
}

export default [
  { name: "count an event", unit: "ns/op", ops: BATCH, setup: async () => countAnEvent() },
  ...[SpinLocks, Mutexes, TicketLocks, McsLocks, RwLocks, SeqLocks].map((Locks) => ({
    name: `lock and unlock, uncontended (${Locks.name})`,
    unit: "ns/op",
    ops: BATCH,
    setup: async () => lockAndUnlock(Locks),
  })),
  { name: "read lock and unlock (RwLocks)", unit: "ns/op", ops: BATCH, setup: async () => readAndEnd() },
  { name: "read two words (SeqLocks)", unit: "ns/op", ops: BATCH, setup: async () => readASequence() },
  { name: "next of 64 CPUs in a mask of 256", unit: "ns/op", ops: 64, setup: async () => walkAMask(byNext) },
  { name: "forEach of 64 CPUs in a mask of 256", unit: "ns/op", ops: 64, setup: async () => walkAMask(byForEach) },
  { name: "intersect two masks of 256 and count", unit: "ns/op", setup: async () => combineMasks() },
];
