import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { jsonCodec, Rcu, RcuCell } from "@x/rcu";
import {
  BATCH,
  LOCK,
  locked,
  memoryBytes,
  qsbr,
  sections,
  unprotected,
  wordLocked,
  wordQsbr,
  wordSections,
  wordUnprotected,
} from "./readers.mjs";
import { RwLock } from "./rw-lock.mjs";

const newWords = () => new Int32Array(new SharedArrayBuffer(memoryBytes));
const CONFIG = { servers: Array.from({ length: 8 }, (_, i) => ({ address: `10.0.0.${i}`, port: 1080, priority: i })) };

function oneThread(make, peers) {
  return () => {
    const words = newWords();
    return {
      ours: make(words),
      peers: Object.fromEntries(Object.entries(peers).map(([name, peer]) => [name, peer(words)])),
    };
  };
}

/** Starts a second thread, which does what `control` says, from Mode. */
async function secondThread() {
  const hal = WorkerHal.create({ possibleCpus: 2 });
  const rcu = Rcu.create({ hal });
  const barrier = Rcu.create({ hal, flavour: "memory-barrier" });
  rcu.online();
  const words = newWords();
  const mode = new Int32Array(new SharedArrayBuffer(4));
  const handles = { halHandle: hal.handle, qsbrHandle: rcu.handle, barrierHandle: barrier.handle };
  const worker = new Worker(new URL("second-reader.mjs", import.meta.url), {
    workerData: { ...handles, memory: words.buffer, control: mode.buffer },
  });
  await once(worker, "message");
  const teardown = async () => {
    Atomics.store(mode, 0, -1);
    rcu.offline();
    await once(worker, "exit");
  };
  return { rcu, barrier, words, mode, teardown };
}

/** What the second thread does, as in second-reader.mjs. */
const Mode = { qsbr: 1, locked: 2, wordQsbr: 3, wordLocked: 4, wordSections: 5 };

/** Both threads read in the same way while one way is measured; the other thread rests between the cases. */
function twoThreads(chooseOurs, lockMode, readLocked) {
  return async () => {
    const both = await secondThread();
    const during = (way, read) => () => {
      Atomics.store(both.mode, 0, way);
      return read();
    };
    return {
      ours: during(...chooseOurs(both)),
      peers: { "reader-writer lock (compare-exchange)": during(lockMode, readLocked(both.words)) },
      teardown: both.teardown,
    };
  };
}

/** A grace period that waits for a thread which reads all the time, and for nobody. */
async function gracePeriods() {
  const { rcu, mode, teardown } = await secondThread();
  Atomics.store(mode, 0, Mode.wordQsbr);
  const alone = Rcu.create();
  return {
    ours: () => {
      const cookie = rcu.startPoll();
      let turns = 0;
      for (; !rcu.poll(cookie); turns++) rcu.quiescent();
      return turns;
    },
    peers: {
      "the same, no other thread": () => {
        const cookie = alone.startPoll();
        alone.quiescent();
        return alone.poll(cookie);
      },
    },
    teardown,
  };
}

/** 1 update in 256 reads. */
function readHeavy() {
  const words = newWords();
  const rcu = Rcu.create();
  const read = qsbr(words, rcu);
  const readLocked = locked(words);
  const lock = new RwLock(words, LOCK);
  const nothing = () => undefined;
  let turn = 0;
  return {
    ours: () => {
      const sum = read();
      Atomics.store(words, 0, ++turn & 1);
      rcu.call(nothing, turn);
      return sum;
    },
    peers: {
      "reader-writer lock (compare-exchange)": () => {
        const sum = readLocked();
        lock.lock();
        Atomics.store(words, 0, ++turn & 1);
        lock.unlock();
        return sum;
      },
    },
  };
}

function configuration() {
  const rcu = Rcu.create();
  const cell = RcuCell.create({ rcu, codec: jsonCodec, initial: CONFIG });
  const words = newWords();
  const lock = new RwLock(words, LOCK);
  let version = 0;
  let copy = CONFIG;
  const repeat = (read) => () => {
    let ports = 0;
    for (let i = 0; i < BATCH; i++) ports += read().servers[i & 7].port;
    return ports;
  };
  return {
    ours: repeat(() => cell.read()),
    peers: {
      "copy per version behind the lock": repeat(() => {
        lock.lockShared();
        if (words[0] !== version) {
          version = words[0];
          copy = structuredClone(CONFIG);
        }
        lock.unlockShared();
        return copy;
      }),
    },
  };
}

const FREES = 4096;

/** Objects of a free list, taken and given back after a grace period, against given back at once. */
function deferredFrees() {
  const rcu = Rcu.create();
  const free = Int32Array.from({ length: 2 * FREES }, (_, i) => i * 64);
  let top = free.length;
  const target = {
    free: (offset) => (free[top++] = offset),
    freeBulk: (offsets, count) => {
      for (let i = 0; i < count; i++) free[top++] = offsets[i];
    },
  };
  return {
    ours: () => {
      for (let i = 0; i < FREES; i++) {
        rcu.free(target, free[--top]);
        if (i % 256 === 255) rcu.quiescent();
      }
      rcu.quiescent();
      return top;
    },
    peers: {
      "freed at once, unprotected": () => {
        for (let i = 0; i < FREES; i++) target.free(free[--top]);
        return top;
      },
    },
  };
}

function callbacks() {
  const rcu = Rcu.create();
  let freed = 0;
  const free = (offset) => {
    freed += offset;
  };
  return {
    ours: () => {
      for (let i = 0; i < 64; i++) rcu.call(free, i);
      rcu.quiescent();
      return freed;
    },
    peers: {},
  };
}

const lockPeer = { "reader-writer lock (compare-exchange)": locked };
const newOnline = (flavour) => Rcu.create({ flavour });

export default [
  {
    name: "read, one thread: qsbr against no protection at all",
    unit: "ns/op",
    ops: BATCH,
    setup: oneThread((words) => qsbr(words, newOnline("qsbr")), { unprotected }),
  },
  {
    name: "read, one thread: qsbr against a lock",
    unit: "ns/op",
    ops: BATCH,
    setup: oneThread((words) => qsbr(words, newOnline("qsbr")), lockPeer),
  },
  {
    name: "read, one thread: qsbr with marked sections against a lock",
    unit: "ns/op",
    ops: BATCH,
    setup: oneThread((words) => sections(words, newOnline("qsbr")), lockPeer),
  },
  {
    name: "read, one thread: flavour memory-barrier against a lock",
    unit: "ns/op",
    ops: BATCH,
    setup: oneThread((words) => sections(words, newOnline("memory-barrier")), lockPeer),
  },
  {
    name: "read, two threads: qsbr against a lock",
    unit: "ns/op",
    ops: BATCH,
    setup: twoThreads(({ words, rcu }) => [Mode.qsbr, qsbr(words, rcu)], Mode.locked, locked),
  },
  {
    name: "read of one word, one thread: qsbr against no protection at all",
    unit: "ns/op",
    ops: BATCH,
    setup: oneThread((words) => wordQsbr(words, newOnline("qsbr")), { unprotected: wordUnprotected }),
  },
  {
    name: "read of one word, two threads: qsbr against a lock",
    unit: "ns/op",
    ops: BATCH,
    setup: twoThreads(({ words, rcu }) => [Mode.wordQsbr, wordQsbr(words, rcu)], Mode.wordLocked, wordLocked),
  },
  {
    name: "read of one word, two threads: memory-barrier against a lock",
    unit: "ns/op",
    ops: BATCH,
    setup: twoThreads(
      ({ words, barrier }) => [Mode.wordSections, wordSections(words, barrier)],
      Mode.wordLocked,
      wordLocked,
    ),
  },
  { name: "grace period, other thread reads all the time", unit: "ns/op", ops: 1, setup: gracePeriods },
  { name: "free, its share of a grace period, 4096 deferred", unit: "ns/op", ops: FREES, setup: deferredFrees },
  { name: "256 reads and 1 update, one thread (promised: 2-5x)", unit: "ns/op", ops: BATCH, setup: readHeavy },
  { name: "configuration read, unchanged", unit: "ns/op", ops: BATCH, setup: configuration },
  { name: "call, grace period and callback, one thread", unit: "ns/op", ops: 64, setup: callbacks },
];
