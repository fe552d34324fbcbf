import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { CpuMask, WorkerHal } from "@x/smp";
import { pinThread } from "@x/smp/node";
import { jsonCodec, Rcu, RcuCell } from "@x/rcu";
import { BATCH, newMemory, WORDS } from "./readers.mjs";
import { RwLock } from "./rw-lock.mjs";

const CONFIG = { servers: Array.from({ length: 8 }, (_, i) => ({ address: `10.0.0.${i}`, port: 1080, priority: i })) };
const LOCK = "reader-writer lock (compare-exchange)";

let copies = 0;
/** The loops, compiled anew: a program has one reader at a place, not all of those that are compared here. */
const freshReaders = () => import(`./readers.mjs?${++copies}`);

/** Ours under `rcu` against others, by name, each over memory and code of its own. */
function oneThread(way, flavour, width, peers, mayWrite = false) {
  return async () => {
    const make = async (name, online) => {
      const readers = await freshReaders();
      const words = newMemory();
      const rcu = online || name === "racyBetween" ? Rcu.create({ flavour }) : undefined;
      const write = !mayWrite ? undefined : online ? readers.replacing(words, rcu) : readers.lockedReplacing(words);
      return readers.ways[name](words, { rcu, width, ...(write === undefined ? {} : { write }) });
    };
    const made = {};
    for (const [name, peer] of Object.entries(peers)) made[name] = await make(peer, false);
    return { ours: await make(way, true), peers: made };
  };
}

/** Starts a second thread, which does what `control` says, see second-reader.mjs. */
async function secondThread(flavour, width) {
  const hal = WorkerHal.create({ possibleCpus: 2 });
  const rcu = Rcu.create({ hal, flavour });
  rcu.online();
  const words = newMemory();
  pinThread(CpuMask.of(2, [0]));
  const mode = new Int32Array(new SharedArrayBuffer(4));
  const workerData = {
    halHandle: hal.handle,
    rcuHandle: rcu.handle,
    memory: words.buffer,
    control: mode.buffer,
    width,
  };
  const worker = new Worker(new URL("second-reader.mjs", import.meta.url), { workerData });
  await once(worker, "message");
  const teardown = async () => {
    Atomics.store(mode, 0, -1);
    rcu.offline();
    await once(worker, "exit");
  };
  return { rcu, words, mode, teardown };
}

/** Modes of the second thread. */
const Mode = { qsbr: 1, sections: 2, locked: 3, readOnly: 4 };

/** Both threads read in the same way while one way is measured; the second makes an update per batch of its own. */
function twoThreads(way, flavour, width) {
  return async () => {
    const { rcu, words, mode, teardown } = await secondThread(flavour, width);
    const during = (other, read) => () => {
      Atomics.store(mode, 0, other);
      return read();
    };
    return {
      ours: during(Mode[way], (await freshReaders()).ways[way](words, { rcu, width })),
      peers: { [LOCK]: during(Mode.locked, (await freshReaders()).ways.locked(words, { width })) },
      teardown,
    };
  };
}

/** A grace period that waits for a thread which reads all the time, and for nobody. */
async function gracePeriods() {
  const { rcu, mode, teardown } = await secondThread("qsbr", 1);
  Atomics.store(mode, 0, Mode.readOnly);
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

function configuration() {
  const rcu = Rcu.create();
  const cell = RcuCell.create({ rcu, codec: jsonCodec, initial: CONFIG });
  const words = newMemory();
  const lock = new RwLock(words, 32);
  let version = 0;
  let copy = CONFIG;
  return {
    ours: () => {
      let ports = 0;
      for (let i = 0; i < BATCH; i++) ports += cell.read().servers[i & 7].port;
      rcu.quiescent();
      return ports;
    },
    peers: {
      "copy per version behind the lock": () => {
        let ports = 0;
        for (let i = 0; i < BATCH; i++) {
          lock.lockShared();
          if (words[0] !== version) {
            version = words[0];
            copy = structuredClone(CONFIG);
          }
          lock.unlockShared();
          ports += copy.servers[i & 7].port;
        }
        return ports;
      },
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

const CALLS = 64;

function callbacks() {
  const rcu = Rcu.create();
  let freed = 0;
  const free = (offset) => {
    freed += offset;
  };
  return {
    ours: () => {
      for (let i = 0; i < CALLS; i++) rcu.call(free, i);
      rcu.quiescent();
      return freed;
    },
    peers: {},
  };
}

const reads = (name, setup) => ({ name, unit: "ns/op", ops: BATCH, setup });
const unprotected = { "no protection, Atomics.load": "unprotected" };
const racy = { "no protection, plain load (racy)": "racy" };
const racyBetween = { "the same loop without protection": "racyBetween" };
const locked = { [LOCK]: "locked" };
const of = (width) => (width === 1 ? "one word" : `${width} words`);

export default [
  ...[1, WORDS].flatMap((width) => [
    reads(`${of(width)}, qsbr against no protection`, oneThread("qsbr", "qsbr", width, unprotected)),
    reads(`${of(width)}, qsbr against a race`, oneThread("qsbr", "qsbr", width, racy)),
    reads(`${of(width)}, qsbr, the reads alone`, oneThread("qsbr", "qsbr", width, racyBetween)),
    reads(`${of(width)}, qsbr, marked sections`, oneThread("sections", "qsbr", width, locked)),
    reads(`${of(width)}, memory-barrier`, oneThread("sections", "memory-barrier", width, locked)),
    reads(`${of(width)}, two threads, 0.1 % updates, qsbr`, twoThreads("qsbr", "qsbr", width)),
    reads(`${of(width)}, two threads, 0.1 % updates, memory-barrier`, twoThreads("sections", "memory-barrier", width)),
  ]),
  reads("1024 reads and 1 update, one thread (promised: 2-5x)", oneThread("qsbr", "qsbr", WORDS, locked, true)),
  reads("configuration read, unchanged", configuration),
  { name: "grace period, other thread reads all the time", unit: "ns/op", ops: 1, setup: gracePeriods },
  { name: "free, its share of a grace period, 4096 deferred", unit: "ns/op", ops: FREES, setup: deferredFrees },
  { name: "call, grace period and callback, one thread", unit: "ns/op", ops: CALLS, setup: callbacks },
];
