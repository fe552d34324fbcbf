// The second thread of the two-thread cases: reads all the time, in the way that `control` says, and makes one update per batch.
import { parentPort, workerData } from "node:worker_threads";
import { CpuMask, WorkerHal } from "@x/smp";
import { pinThread } from "@x/smp/node";
import { Rcu } from "@x/rcu";
import { lockedReplacing, replacing, ways } from "./readers.mjs";

// A processor for each thread: left to itself, the host's scheduler often wakes a thread on that of its waker, and is what is measured.
pinThread(CpuMask.of(2, [1]));

const { halHandle, rcuHandle, memory, control, width } = workerData;
const hal = WorkerHal.attach(halHandle, { cpu: 1 });
const rcu = Rcu.attach(rcuHandle, { hal });
const words = new Int32Array(memory);
const mode = new Int32Array(control);
const write = replacing(words, rcu);
/** By mode: 0 rests, 1 and 2 are ours, 3 is the lock, 4 only passes quiescent states. */
const modes = [
  () => (rcu.quiescent(), hal.relax(200)),
  ways.qsbr(words, { rcu, width, write }),
  ways.sections(words, { rcu, width, write }),
  ways.locked(words, { width, write: lockedReplacing(words) }),
  ways.qsbr(words, { rcu, width }),
];

rcu.online();
parentPort.postMessage("ready", []);
for (let way = 0; way >= 0; way = Atomics.load(mode, 0)) modes[way]();
rcu.offline();
