// Calls between two threads: ours against a bare ring, postMessage and thread pools, one at a time and 64 under way.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { CpuMask, CrossCalls, IpiMailbox, IpiType, TlbShootdown, WorkerHal } from "@x/smp";
import { pinThread } from "@x/smp/node";
import { Piscina } from "piscina";
import { Tinypool } from "tinypool";
import { CALL_RING_BYTES, Ring, RING_WORDS } from "./ring.mjs";

const entry = new URL("./echo.mjs", import.meta.url);
/** Some 20 µs. */
const SPINS = 4000;
/** Threads take a while to start, and code to be compiled. */
const WARM_UP = 2000;
const filename = new URL("./identity.mjs", import.meta.url).href;

async function startOurs() {
  const hal = WorkerHal.create({ possibleCpus: 2 });
  const mailbox = IpiMailbox.create({ hal });
  const calls = CrossCalls.create({ hal, mailbox, functions: [(_from, value) => value] });
  const shootdown = TlbShootdown.create({ hal, mailbox, flush: () => undefined });
  const workerData = {
    hal: hal.handle,
    mailbox: mailbox.handle,
    calls: calls.handle,
    shootdown: shootdown.handle,
  };
  const worker = new Worker(entry, { workerData });
  const exit = once(worker, "exit");
  calls.call(1, 0, 1);
  const stop = async () => {
    mailbox.send(1, IpiType.Halt);
    await exit;
  };
  return { calls, shootdown, stop };
}

/** @param {number} spins looks before it sleeps */
async function startRing(spins) {
  const memory = new SharedArrayBuffer(2 * RING_WORDS * 4);
  const worker = new Worker(entry, { workerData: { ring: memory, spins } });
  const exit = once(worker, "exit");
  const requests = new Ring(memory, 0, spins);
  const answers = new Ring(memory, RING_WORDS, spins);
  const exchange = (count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) requests.put(i);
    requests.publish();
    for (let left = count; left > 0;) {
      for (let ready = answers.wait(); ready > 0; ready--, left--) sum += answers.take();
    }
    return sum;
  };
  exchange(1);
  const stop = async () => {
    requests.put(-1);
    requests.publish();
    await exit;
  };
  return { exchange, stop };
}

/** A ring that carries what a call does: which function, three arguments, and the result back. */
async function startCallRing() {
  const memory = new SharedArrayBuffer(2 * CALL_RING_BYTES);
  const worker = new Worker(entry, { workerData: { callRing: memory, spins: SPINS } });
  const exit = once(worker, "exit");
  const requests = new Ring(memory, 0, SPINS);
  const answers = new Ring(memory, CALL_RING_BYTES / 4, SPINS);
  const exchange = (count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) requests.putCall(0, i, 0, 0);
    requests.publish();
    for (let left = count; left > 0;) {
      for (let ready = answers.wait(); ready > 0; ready--, left--) {
        sum += answers.peek(0);
        answers.skip();
      }
    }
    return sum;
  };
  exchange(1);
  const stop = async () => {
    requests.putCall(-1, 0, 0, 0);
    requests.publish();
    await exit;
  };
  return { exchange, stop };
}

/** `count` calls at once in every way; each way has a thread of its own, and those that are not measured sleep. */
async function exchanges(count) {
  pinThread(CpuMask.of(2, [0]));
  const ours = await startOurs();
  const ring = await startRing(SPINS);
  const callRing = await startCallRing();
  const sleepingRing = await startRing(0);
  const port = new Worker(entry, { workerData: null });
  await once(port, "online");
  const options = { filename, minThreads: 1, maxThreads: 1, concurrentTasksPerWorker: 64 };
  const tinypool = new Tinypool(options);
  const piscina = new Piscina(options);
  const done = { answers: 0, resolve: undefined };
  port.on("message", () => {
    if (++done.answers === count) done.resolve(count);
  });
  const values = Float64Array.from({ length: count }, (_, i) => i);
  const results = new Float64Array(count);
  const call = count === 1 ? () => ours.calls.call(1, 0, 7) : () => ours.calls.callBulk(1, 0, values, results);
  await Promise.all([tinypool.run(0), piscina.run(0)]);
  for (let turn = 0; turn < WARM_UP; turn++) call();
  return {
    ours: call,
    peers: {
      "bare ring": () => ring.exchange(count),
      "bare ring of calls": () => callRing.exchange(count),
      "bare ring that only sleeps": () => sleepingRing.exchange(count),
      postMessage: () =>
        new Promise((resolve) => {
          done.answers = 0;
          done.resolve = resolve;
          for (let i = 0; i < count; i++) port.postMessage(i);
        }),
      tinypool: () => Promise.all(Array.from({ length: count }, (_, i) => tinypool.run(i))),
      piscina: () => Promise.all(Array.from({ length: count }, (_, i) => piscina.run(i))),
    },
    teardown: () =>
      Promise.all([
        ours.stop(),
        ring.stop(),
        callRing.stop(),
        sleepingRing.stop(),
        port.terminate(),
        tinypool.destroy(),
        piscina.destroy(),
      ]),
  };
}

async function invalidations() {
  pinThread(CpuMask.of(2, [0]));
  const ours = await startOurs();
  const ring = await startRing(SPINS);
  return {
    ours: () => ours.shootdown.invalidate(0, 1, 1),
    peers: { "bare ring": () => ring.exchange(1) },
    teardown: () => Promise.all([ours.stop(), ring.stop()]),
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
  { name: "call another thread", unit: "µs/op", setup: () => exchanges(1) },
  { name: "64 calls of another thread, each", unit: "µs/op", ops: 64, setup: () => exchanges(64) },
  { name: "invalidate on another thread", unit: "µs/op", setup: invalidations },
];
