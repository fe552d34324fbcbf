// The other side of the round trips: answers each message, asleep in between, until told to end.
import { parentPort, workerData } from "node:worker_threads";
import { IpiMailbox, IpiType, WorkerHal } from "@x/smp";

function answerMessages() {
  parentPort.on("message", (message) => parentPort.postMessage(message, []));
}

function answerInterrupts() {
  const hal = WorkerHal.attach(workerData.hal, { cpu: 1 });
  const mailbox = IpiMailbox.attach(workerData.mailbox, { hal });
  const told = { halt: false };
  const handler = (type, payload, from) => {
    if (type === IpiType.Halt) told.halt = true;
    else mailbox.send(from, type, payload);
  };
  while (!told.halt) {
    const seen = hal.kicks();
    if (mailbox.receive(handler) === 0) hal.waitForKick(seen, Infinity);
  }
}

if (workerData === null) answerMessages();
else answerInterrupts();
