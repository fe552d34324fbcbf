// Messages between threads: mailboxes against postMessage and a thread pool, one at a time and 64 under way.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { IpiMailbox, IpiType, WorkerHal } from "@x/smp";
import { Tinypool } from "tinypool";

const entry = new URL("./echo.mjs", import.meta.url);

/** Two threads that answer, and for each way one function that sends `count` messages and has all answers at its end. */
async function roundTrips(count) {
  const hal = WorkerHal.create({ possibleCpus: 2 });
  const mailbox = IpiMailbox.create({ hal });
  const cpu = new Worker(entry, { workerData: { hal: hal.handle, mailbox: mailbox.handle } });
  const port = new Worker(entry, { workerData: null });
  const filename = new URL("./identity.mjs", import.meta.url).href;
  const pool = new Tinypool({ filename, minThreads: 1, maxThreads: 1, concurrentTasksPerWorker: 64 });
  await Promise.all([once(cpu, "online"), once(port, "online")]);
  const done = { answers: 0, resolve: undefined };
  port.on("message", () => {
    if (++done.answers === count) done.resolve(count);
  });
  return {
    ours: () => {
      for (let i = 0; i < count; i++) mailbox.send(1, IpiType.Generic, i);
      for (let answers = 0; answers < count;) {
        const seen = hal.kicks();
        const taken = mailbox.receive(() => undefined);
        if (taken === 0) hal.waitForKick(seen, Infinity);
        answers += taken;
      }
      return count;
    },
    peers: {
      postMessage: () =>
        new Promise((resolve) => {
          done.answers = 0;
          done.resolve = resolve;
          for (let i = 0; i < count; i++) port.postMessage(i);
        }),
      tinypool: () => Promise.all(Array.from({ length: count }, (_, i) => pool.run(i))),
    },
    teardown: async () => {
      const ended = once(cpu, "exit");
      mailbox.send(1, IpiType.Halt, 0);
      await Promise.all([ended, port.terminate(), pool.destroy()]);
    },
  };
}

function sendToSelf() {
  const mailbox = IpiMailbox.create({ hal: WorkerHal.create({ possibleCpus: 1 }) });
  let sum = 0;
  const handler = (_type, payload) => {
    sum += payload;
  };
  return {
    ours: () => {
      for (let i = 0; i < 64; i++) mailbox.send(0, IpiType.Generic, i);
      mailbox.receive(handler);
      return sum;
    },
  };
}

export default [
  { name: "send and receive on one CPU", unit: "ns/op", ops: 64, setup: async () => sendToSelf() },
  { name: "round trip between two threads", unit: "µs/op", setup: () => roundTrips(1) },
  { name: "round trip, 64 under way", unit: "µs/op", ops: 64, setup: () => roundTrips(64) },
];
