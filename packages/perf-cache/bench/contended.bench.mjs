// Two threads look up flows at once. Feature off: one table under one lock. Feature on: a cache per CPU in front of the table
// that is read without a lock. A second thread (this file again, as a worker) does all the time what is being measured. Each has a processor
// of its own, if the host has two and lets threads be pinned.
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { ConnectionCache, fastLookup, FlowTable, hashTuple, writeIpv4Key } from "@x/perf-cache";
import { Rcu } from "@x/rcu";
import { CpuMask, SpinLocks, WorkerHal } from "@x/smp";
import { pinThread } from "@x/smp/node";

const FLOWS = 512;
const LOOKUPS = 2048;
const Mode = { idle: 0, locked: 1, cached: 2, stop: 3, reading: 4 };

const keys = new Int32Array(FLOWS * 10);
for (let flow = 0; flow < FLOWS; flow++) {
  writeIpv4Key(keys, flow * 10, 0x0a000000 + flow, 0xc6336401, 1024 + flow, 443, 6);
}

let loops = 0;

/** What one CPU does, on whichever thread: the two ways to look up LOOKUPS flows. */
function cpu(shared, id) {
  pinThread(CpuMask.of(2, [id]));
  const hal = WorkerHal.attach(shared.hal, { cpu: id });
  const rcu = Rcu.attach(shared.rcu, { hal });
  const table = FlowTable.attach(shared.table, { hal, rcu });
  const cache = ConnectionCache.attach(shared.cache, { hal, table });
  const lock = SpinLocks.attach(shared.lock, { hal });
  // A loop for each way of looking up, as a program has it.
  const lookups = (lookup) =>
    // oxlint-disable-next-line no-implied-eval -- the text is a constant
    new Function(
      "lookup, LOOKUPS, FLOWS",
      `return () => {
        let sum = 0;
        for (let i = 0; i < LOOKUPS; i++) sum ^= lookup(((i * 7) % FLOWS) * 10);
        return sum;
      }; // ${loops++}`,
    )(lookup, LOOKUPS, FLOWS);
  const locked = lookups((at) => {
    lock.lock(0);
    const entry = table.find(keys, at);
    lock.unlock(0);
    return entry;
  });
  const reading = lookups((at) => table.find(keys, at));
  return { table, locked, reading, cached: lookups((at) => fastLookup(cache, table, keys, at)) };
}

function background() {
  const { locked, cached, reading } = cpu(workerData, 1);
  const mode = new Int32Array(workerData.mode);
  for (let now = Atomics.load(mode, 0); now !== Mode.stop; now = Atomics.load(mode, 0)) {
    if (now === Mode.idle) Atomics.wait(mode, 0, Mode.idle, 100);
    else if (now === Mode.locked) locked();
    else if (now === Mode.reading) reading();
    else cached();
  }
}

function setup(mineOf) {
  const hal = WorkerHal.create({ possibleCpus: 2 });
  const rcu = Rcu.create({ hal });
  const table = FlowTable.create({ hash: "jhash", capacity: FLOWS, hal, rcu });
  const shared = {
    hal: hal.handle,
    rcu: rcu.handle,
    table: table.handle,
    cache: ConnectionCache.create({ hal, entries: 1024, table }).handle,
    lock: SpinLocks.create({ name: "table", hal }).handle,
    mode: new SharedArrayBuffer(4),
  };
  for (let flow = 0; flow < FLOWS; flow++) table.insert(keys, flow * 10, hashTuple(keys, flow * 10), flow);
  const here = cpu(shared, 0);
  const mode = new Int32Array(shared.mode);
  const worker = new Worker(new URL(import.meta.url), { workerData: shared });
  const during = (wanted, action) => () => {
    if (Atomics.exchange(mode, 0, wanted) === Mode.idle && wanted !== Mode.idle) Atomics.notify(mode, 0);
    return action();
  };
  return {
    ...mineOf(here, during),
    teardown: async () => {
      Atomics.store(mode, 0, Mode.stop);
      Atomics.notify(mode, 0);
      await worker.terminate();
    },
  };
}

if (!isMainThread && workerData?.mode !== undefined) background();

const locked = (here, during) => ({ "the same table under one lock": during(Mode.locked, here.locked) });

export default [
  {
    name: `look-up on two threads, ${FLOWS} flows, a cache per CPU against a locked table`,
    unit: "ns/op",
    ops: LOOKUPS,
    setup: async () =>
      setup((here, during) => ({ ours: during(Mode.cached, here.cached), peers: locked(here, during) })),
  },
  {
    name: `look-up on two threads, ${FLOWS} flows, without a lock against a locked table`,
    unit: "ns/op",
    ops: LOOKUPS,
    setup: async () =>
      setup((here, during) => ({ ours: during(Mode.reading, here.reading), peers: locked(here, during) })),
  },
  {
    name: "look-up while another thread looks up too, against alone: 2 x ratio = two threads to one",
    unit: "ns/op",
    ops: LOOKUPS,
    setup: async () =>
      setup((here, during) => ({
        ours: during(Mode.reading, here.reading),
        peers: { "the other thread idle": during(Mode.idle, here.reading) },
      })),
  },
];
