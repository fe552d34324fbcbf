// The second thread: whenever word 0 changes, does as many rounds as word 2 says and counts word 1 up.
import { byKind } from "./allocators.mjs";
import { batches } from "./shapes.mjs";
import { WorkerHal } from "@x/smp";
import { workerData } from "node:worker_threads";

const { kind, handle, halHandle, board } = workerData;
const words = new Int32Array(board);
const hal = halHandle ? WorkerHal.attach(halHandle, { cpu: 1 }) : undefined;
const run = batches(byKind[kind]({ hal, handle }));
for (let seen = 0; ;) {
  for (let spins = 0; Atomics.load(words, 0) === seen; spins++) if (spins > 2000) Atomics.wait(words, 0, seen);
  seen = Atomics.load(words, 0);
  if (seen < 0) break;
  for (let i = words[2]; i > 0; i--) run();
  Atomics.add(words, 1, 1);
}
