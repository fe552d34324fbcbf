// The same work on two threads at once, or all of it on this one.
import { byKind } from "./allocators.mjs";
import { batches } from "./shapes.mjs";
import { WorkerHal } from "@x/smp";
import { Worker } from "node:worker_threads";

/** Batches of one call, both threads together. */
export const ROUNDS = 2000;

export function pairOf(kind) {
  const hal = WorkerHal.create({ possibleCpus: 2 });
  const mine = byKind[kind]({ hal });
  const board = new SharedArrayBuffer(12);
  const words = new Int32Array(board);
  const workerData = { kind, handle: mine.handle, halHandle: hal.handle, board };
  const worker = new Worker(new URL("second-thread.mjs", import.meta.url), { workerData });
  const run = batches(mine);
  let turns = 0;
  const both = () => {
    words[2] = ROUNDS / 2;
    Atomics.store(words, 0, ++turns);
    Atomics.notify(words, 0);
    for (let i = 0; i < ROUNDS / 2; i++) run();
    while (Atomics.load(words, 1) !== turns);
    return turns;
  };
  const alone = () => {
    for (let i = 0; i < ROUNDS; i++) run();
    return turns;
  };
  const teardown = () => worker.terminate();
  return { both, alone, teardown };
}
