// Two threads that want one lock: how long a turn takes when both take turns as often as they can, and how often the lock
// changes hands (on standard error).
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { McsLocks, Mutexes, RwLocks, SpinLocks, TicketLocks, WorkerHal } from "@x/smp";

const hal = WorkerHal.create({ possibleCpus: 3 });
const TURNS = 100_000;
const entry = new URL("./contender.mjs", import.meta.url);
const KINDS = { SpinLocks, TicketLocks, McsLocks, Mutexes, RwLocks };

/** Two threads that take `TURNS` turns each whenever they are told. */
class Contenders {
  constructor(kind, lock) {
    this.kind = kind;
    this.state = new Int32Array(new SharedArrayBuffer(64 * 3));
    const data = { kind, lock, turns: TURNS, state: this.state.buffer, hal: hal.handle };
    this.workers = [1, 2].map((cpu) => new Worker(entry, { workerData: { ...data, cpu } }));
  }

  async run() {
    Atomics.store(this.state, 16, 0);
    Atomics.add(this.state, 0, 1);
    Atomics.notify(this.state, 0);
    for (let done = 0; done < 2; done = Atomics.load(this.state, 16)) {
      await Atomics.waitAsync(this.state, 16, done).value;
    }
    return this.state[32];
  }

  terminate() {
    return Promise.all(this.workers.map((worker) => worker.terminate()));
  }
}

function contend(name) {
  const made = [];
  const contenders = (kind, lock) => {
    const both = new Contenders(kind, lock);
    made.push(both);
    return () => both.run();
  };
  return {
    ours: contenders(name, KINDS[name].create({ hal }).handle),
    peers:
      name === "Mutexes"
        ? {
            "multithreading Mutex": contenders("Mutex", new SharedArrayBuffer(64)),
            "multithreading RwLock": contenders("RwLock", new SharedArrayBuffer(64)),
          }
        : {},
    teardown: async () => {
      for (const { kind, state } of made) {
        console.error(`${kind}: of 1000 turns ${((state[34] / state[32]) * 1000).toFixed(1)} went to the other thread`);
      }
      await Promise.all(made.map((each) => each.terminate()));
    },
  };
}

if (availableParallelism() < 2) console.error("fewer than two cores: the threads take turns on one");

export default Object.keys(KINDS).map((name) => ({
  name: `two threads, one lock (${name})`,
  unit: "ns/op",
  ops: 2 * TURNS,
  setup: async () => contend(name),
}));
