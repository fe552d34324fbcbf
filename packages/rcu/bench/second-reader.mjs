// The second thread of the two-thread cases: reads all the time, in the way the word MODE says.
import { parentPort, workerData } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { Rcu } from "@x/rcu";
import { locked, qsbr } from "./readers.mjs";

const { halHandle, qsbrHandle, memory, control } = workerData;
const hal = WorkerHal.attach(halHandle, { cpu: 1 });
const rcu = Rcu.attach(qsbrHandle, { hal });
const words = new Int32Array(memory);
const modes = [() => hal.relax(200), qsbr(words, rcu), locked(words)];
const mode = new Int32Array(control);

rcu.online();
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a message port has no origin
parentPort.postMessage("ready");
for (let way = 0; way >= 0; way = Atomics.load(mode, 0)) modes[way]();
rcu.offline();
