// The other thread of ipi.bench.mjs: answers messages on a port, on bare rings, or calls as a CPU.
import { parentPort, workerData } from "node:worker_threads";
import { CpuMask, CrossCalls, IpiMailbox, TlbShootdown, WorkerHal } from "@x/smp";
import { pinThread } from "@x/smp/node";
import { CALL_RING_BYTES, Ring, RING_WORDS } from "./ring.mjs";

// A processor for each thread: left to itself, the host's scheduler often wakes a thread on that of its waker, and is what is measured.
pinThread(CpuMask.of(2, [1]));
if (workerData === null) {
  parentPort.on("message", (value) => parentPort.postMessage(value));
} else if (workerData.callRing !== undefined) {
  const requests = new Ring(workerData.callRing, 0, workerData.spins);
  const answers = new Ring(workerData.callRing, CALL_RING_BYTES / 4, workerData.spins);
  const functions = [(value) => value];
  for (let halted = false; !halted;) {
    for (let left = requests.wait(); left > 0; left--) {
      const index = requests.peek(0);
      halted ||= index < 0;
      answers.putCall(halted ? 0 : functions[index](requests.peek(1), requests.peek(2), requests.peek(3)), 0, 0, 0);
      requests.skip();
    }
    answers.publish();
  }
} else if (workerData.ring !== undefined) {
  const requests = new Ring(workerData.ring, 0, workerData.spins);
  const answers = new Ring(workerData.ring, RING_WORDS, workerData.spins);
  for (let halted = false; !halted;) {
    for (let left = requests.wait(); left > 0; left--) {
      const value = requests.take();
      halted ||= value < 0;
      answers.put(value);
    }
    answers.publish();
  }
} else {
  const hal = WorkerHal.attach(workerData.hal, { cpu: 1 });
  const mailbox = IpiMailbox.attach(workerData.mailbox, { hal });
  CrossCalls.attach(workerData.calls, { hal, mailbox, functions: [(_from, value) => value] });
  TlbShootdown.attach(workerData.shootdown, { hal, mailbox, flush: () => undefined }).enter(0);
  while (!mailbox.halted) mailbox.wait();
}
