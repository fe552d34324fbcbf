import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { jsonCodec, Rcu, RcuCell } from "@x/rcu";
import { BATCH, LOCK, locked, memoryBytes, qsbr, sections, unprotected } from "./readers.mjs";
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

/** Both threads read in the same way while one way is measured; the other thread rests between the cases. */
async function twoThreads() {
  const hal = WorkerHal.create({ possibleCpus: 2 });
  const rcu = Rcu.create({ hal });
  rcu.online();
  const words = newWords();
  const control = new SharedArrayBuffer(4);
  const mode = new Int32Array(control);
  const workerData = {
    halHandle: hal.handle,
    qsbrHandle: rcu.handle,

    memory: words.buffer,
    control,
  };
  const worker = new Worker(new URL("second-reader.mjs", import.meta.url), { workerData });
  await once(worker, "message");
  const during = (way, read) => () => {
    Atomics.store(mode, 0, way);
    return read();
  };
  return {
    ours: during(1, qsbr(words, rcu)),
    peers: {
      "reader-writer lock (compare-exchange)": during(2, locked(words)),
    },
    teardown: async () => {
      Atomics.store(mode, 0, -1);
      await once(worker, "exit");
      rcu.offline();
    },
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
  { name: "read, two threads: qsbr against a lock", unit: "ns/op", ops: BATCH, setup: twoThreads },
  { name: "256 reads and 1 update, one thread", unit: "ns/op", ops: BATCH, setup: readHeavy },
  { name: "configuration read, unchanged", unit: "ns/op", ops: BATCH, setup: configuration },
  { name: "call, grace period and callback, one thread", unit: "ns/op", ops: 64, setup: callbacks },
];
