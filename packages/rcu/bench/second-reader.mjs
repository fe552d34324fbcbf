// The second thread of the two-thread cases: reads all the time, in the way the word MODE says.
import { parentPort, workerData } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { Rcu } from "@x/rcu";
import { locked, qsbr, wordLocked, wordQsbr, wordSections } from "./readers.mjs";

const { halHandle, qsbrHandle, barrierHandle, memory, control } = workerData;
const hal = WorkerHal.attach(halHandle, { cpu: 1 });
const rcu = Rcu.attach(qsbrHandle, { hal });
const barrier = Rcu.attach(barrierHandle, { hal });
const words = new Int32Array(memory);
const rest = () => {
  rcu.quiescent();
  hal.relax(200);
};
const modes = [
  rest,
  qsbr(words, rcu),
  locked(words),
  wordQsbr(words, rcu),
  wordLocked(words),
  wordSections(words, barrier),
];
const mode = new Int32Array(control);

rcu.online();
parentPort.postMessage("ready", []);
for (let way = 0; way >= 0; way = Atomics.load(mode, 0)) modes[way]();
rcu.offline();
