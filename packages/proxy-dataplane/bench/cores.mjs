// Two cores over one table, one pool and one set of connections, each with a receive queue of its own.
import { Worker } from "node:worker_threads";
import { Dataplane, FlowCache, PacketPool, proxyConfigCell } from "@x/proxy-dataplane";
import { Rcu } from "@x/rcu";
import { WorkerHal } from "@x/smp";
import { config as initial } from "./common.mjs";

const FLOWS = 512;
export const SIZE = 256;
/** Vectors of one call, of all cores together. */
export const VECTORS = 2000;

/** Two workers that wait for their share of vectors; `words` is the board of core.mjs. */
export async function makeCores() {
  const hal = WorkerHal.create({ possibleCpus: 3 });
  const rcu = Rcu.create({ hal });
  rcu.online();
  const pool = PacketPool.create({ buffers: 4096, clones: 1, bufferBytes: 128, hal });
  const config = proxyConfigCell({ rcu, initial });
  const cache = FlowCache.create({ hal, entries: 4096 });
  const params = { perf_batch_size: SIZE, perf_cache_size: 4096 };
  const dataplane = Dataplane.create({ hal, rcu, pool, config, cache, maxConnections: 8192, params });
  const handles = Object.fromEntries(
    Object.entries({ hal, rcu, pool, config, dataplane }).map(([name, { handle }]) => [name, handle]),
  );
  // Grace periods do not wait for this thread, which only waits.
  rcu.offline();
  const board = new SharedArrayBuffer(3 * 64);
  const words = new Int32Array(board);
  words.fill(-1);
  words[0] = 0;
  const workers = [1, 2].map(
    (cpu) => new Worker(new URL("core.mjs", import.meta.url), { workerData: { cpu, handles, flows: FLOWS, board } }),
  );
  const settled = (turn) => {
    for (const cpu of [1, 2]) {
      for (let seen = Atomics.load(words, 16 * cpu + 1); seen !== turn; seen = Atomics.load(words, 16 * cpu + 1)) {
        Atomics.wait(words, 16 * cpu + 1, seen, 1000);
      }
    }
  };
  // Workers need this thread while they start.
  while (Atomics.load(words, 17) !== 0 || Atomics.load(words, 33) !== 0)
    await new Promise((done) => setTimeout(done, 5));
  let turn = 0;
  const share = (first, second) => () => {
    words[16] = first;
    words[32] = second;
    Atomics.store(words, 0, ++turn);
    Atomics.notify(words, 0);
    settled(turn);
    return dataplane.connectionCount;
  };
  return { words, share, teardown: () => Promise.all(workers.map((worker) => worker.terminate())) };
}
