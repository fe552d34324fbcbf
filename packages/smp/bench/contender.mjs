// A thread of contended-locks.bench.mjs: takes turns at a lock when told to.
import { availableParallelism } from "node:os";
import { workerData } from "node:worker_threads";
import { McsLocks, Mutexes, RwLocks, SpinLocks, TicketLocks, WorkerHal } from "@x/smp";

const { kind, lock, turns, cpu } = workerData;
const hal = WorkerHal.attach(workerData.hal, { cpu });
const state = new Int32Array(workerData.state);
const [GO, DONE, TURN, LAST, CHANGES] = [0, 16, 32, 33, 34];
const KINDS = { SpinLocks, TicketLocks, McsLocks, Mutexes, RwLocks };

const take = await taker();
for (let round = 0; ;) {
  Atomics.wait(state, GO, round);
  round = Atomics.load(state, GO);
  for (let turn = 0; turn < turns; turn++) take();
  Atomics.add(state, DONE, 1);
  Atomics.notify(state, DONE);
}

function count() {
  state[TURN]++;
  if (state[LAST] === cpu) return;
  state[LAST] = cpu;
  state[CHANGES]++;
}

async function taker() {
  if (kind in KINDS) {
    const locks = KINDS[kind].attach(lock, { hal });
    return () => {
      locks.lock();
      count();
      locks.unlock();
    };
  }
  globalThis.navigator ??= { hardwareConcurrency: availableParallelism() };
  const peers = await import("multithreading");
  const peer = new peers[kind](undefined, lock);
  return () => {
    const guard = kind === "Mutex" ? peer.blockingLock() : peer.blockingWrite();
    count();
    guard[Symbol.dispose]();
  };
}
