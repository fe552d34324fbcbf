import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import { afterEach, describe, expect, it } from "vitest";
import { jsonCodec, Rcu, RcuCell } from "../../src/index.ts";
import { reportDeadOnExit, warnOfStalls } from "../../src/node/index.ts";

const workers: Worker[] = [];

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
});

async function start(entry: string, workerData: Record<string, unknown>): Promise<Worker> {
  const worker = new Worker(new URL(`../fixtures/${entry}`, import.meta.url), { workerData });
  workers.push(worker);
  await once(worker, "message");
  return worker;
}

function machine(cpus: number) {
  const hal = WorkerHal.create({ possibleCpus: cpus });
  const rcu = Rcu.create({ hal });
  return { rcu, common: { halHandle: hal.handle, rcuHandle: rcu.handle } };
}

describe("a thread that lives in its event loop", () => {
  it("lets grace periods end while it does nothing, and goes offline when it ends", async () => {
    const { rcu, common } = machine(2);
    const worker = await start("reader-loop.mjs", { ...common, cpu: 1 });
    expect(rcu.isOnline(1)).toBe(true);
    for (let i = 0; i < 50; i++) await rcu.synchronize();
    rcu.synchronizeBlocking();
    worker.postMessage("end");
    await once(worker, "exit");
    expect(rcu.isOnline(1)).toBe(false);
    expect(rcu.stats().gracePeriods).toBe(51);
  });

  it("runs its callbacks by itself, and others can wait for them", async () => {
    const { rcu, common } = machine(2);
    const worker = await start("reader-loop.mjs", { ...common, cpu: 1 });
    const heard: { freed: number }[] = [];
    const all = new Promise<void>((resolve) => {
      worker.on("message", (message: { freed: number }) => {
        heard.push(message);
        if (heard.length === 10) resolve();
      });
    });
    worker.postMessage("call");
    await all;
    await rcu.barrier();
    expect(rcu.stats()).toMatchObject({ callbacksQueued: 10, callbacksInvoked: 10 });
  });

  it("that lets a turn end inside a read section fails loudly, and is taken out when it has died", async () => {
    const { rcu, common } = machine(2);
    const worker = await start("reader-loop.mjs", { ...common, cpu: 1 });
    reportDeadOnExit(rcu, worker, 1);
    const failed = once(worker, "error");
    worker.postMessage("section");
    const state = { alive: true };
    const death = failed.finally(() => (state.alive = false));
    const grace = (async (): Promise<void> => {
      while (state.alive) {
        await rcu.synchronize();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    const [error] = (await death) as [unknown];
    await grace;
    expect(error).toMatchObject({ code: "RCU_IN_SECTION" });
  });

  it("that is killed holds up nobody once that is reported", async () => {
    const { rcu, common } = machine(2);
    const worker = await start("reader-loop.mjs", { ...common, cpu: 1 });
    let also = -1;
    reportDeadOnExit(rcu, worker, 1, (cpu) => (also = cpu));
    await worker.terminate();
    await rcu.synchronize();
    expect(rcu.isOnline(1)).toBe(false);
    expect(also).toBe(1);
  });
});

describe("a subscription to a cell on an otherwise idle thread", () => {
  it("is told each version, keeps its thread alive until it ends, and then lets it end", async () => {
    const { rcu, common } = machine(2);
    const cell = RcuCell.create<number>({ rcu, codec: jsonCodec, initial: 0, maxBytes: 64, slots: 2 });
    const worker = await start("subscriber.mjs", { ...common, cellHandle: cell.handle, cpu: 1, until: 5 });
    const exit = once(worker, "exit");
    for (let value = 1; value <= 5; value++) {
      const heard = once(worker, "message");
      const version = await cell.updateAsync(value);
      expect(await heard).toEqual([{ value, version }]);
    }
    expect(await exit).toEqual([0]);
  });

  it("lets its thread end at once where it need not keep it alive", async () => {
    const { rcu, common } = machine(2);
    const cell = RcuCell.create<number>({ rcu, codec: jsonCodec, initial: 0 });
    const data = { ...common, cellHandle: cell.handle, cpu: 1, until: 5, keepAlive: false };
    const worker = new Worker(new URL("../fixtures/subscriber.mjs", import.meta.url), { workerData: data });
    workers.push(worker);
    expect(await once(worker, "exit")).toEqual([0]);
    expect(rcu.isOnline(1)).toBe(false);
  });
});

describe("warnings of stalls", () => {
  it("name the CPU and the section", async () => {
    const warning = once(process, "warning");
    warnOfStalls().onStall(3, 21e9, "read (config.js:1:2)");
    expect(await warning).toEqual([
      expect.objectContaining({
        code: "RCU_STALL",
        message: "a grace period has waited 21000 ms for CPU 3, in a read section that began at read (config.js:1:2)",
      }),
    ]);
  });
});
