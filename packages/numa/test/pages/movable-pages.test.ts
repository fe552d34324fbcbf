import { Worker } from "node:worker_threads";
import { WorkerHal } from "@x/smp";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AllocHint, MovablePages, NumaError, PageAllocator, type MovableObserver } from "../../src/index.ts";
import { Machine } from "../machine.ts";

const PAGE = 4096;

/** Nodes 0 and 1 with a CPU each, node 2 without; so many pages each. */
function machine(
  pagesOf: readonly [number, number, number],
  options: { capacity?: number; observer?: MovableObserver } = {},
) {
  const hal = new Machine(2);
  const zones = pagesOf.map((pages, node) => ({ node, bytes: pages * PAGE }));
  const pages = PageAllocator.create({ zones, hal, maxOrder: 4, nodeOfCpu: [0, 1] });
  const movable = MovablePages.create({ pages, hal, capacity: options.capacity ?? 32, observer: options.observer });
  const bytes = new Uint8Array(pages.buffer);
  const write = (page: number, value: number): void => {
    const offset = movable.pin(page);
    bytes.fill(value, offset, offset + PAGE);
    movable.unpin(page);
  };
  const read = (page: number): number => {
    const offset = movable.pin(page);
    const value = bytes[offset + PAGE - 1];
    movable.unpin(page);
    return value;
  };
  return { hal, pages, movable, write, read };
}

describe("a page", () => {
  it("keeps its content when it is moved, and its old frame is free again", () => {
    const { pages, movable, write, read } = machine([4, 4, 4]);
    const page = movable.map(AllocHint.strictNode(0));
    write(page, 77);
    expect(movable.migrate(page, 1)).toBe(true);
    expect(movable.nodeOf(page)).toBe(1);
    expect(read(page)).toBe(77);
    expect(pages.freeBytes(0)).toBe(4 * PAGE);
    expect(pages.freeBytes(1)).toBe(3 * PAGE);
    movable.unmap(page);
    expect(pages.freeBytes(1)).toBe(4 * PAGE);
  });

  it("stays where it is while it is pinned", () => {
    const { movable } = machine([4, 4, 4]);
    const page = movable.map();
    movable.pin(page);
    expect(movable.migrate(page, 1)).toBe(false);
    expect(() => movable.unmap(page)).toThrow(NumaError);
    movable.unpin(page);
    expect(movable.migrate(page, 1)).toBe(true);
    expect(movable.stats().busy).toBe(1);
  });

  it("stays where it is when the other node is full", () => {
    const { pages, movable } = machine([4, 1, 4]);
    pages.alloc(PAGE, AllocHint.strictNode(1));
    const page = movable.map(AllocHint.strictNode(0));
    expect(movable.migrate(page, 1)).toBe(false);
    expect(movable.stats().noRoom).toBe(1);
    expect(movable.nodeOf(page)).toBe(0);
  });

  it("is refused when it does not exist", () => {
    const { movable } = machine([4, 4, 4]);
    const page = movable.map();
    movable.unmap(page);
    for (const id of [page, 0, -1, 33, 0.5]) {
      expect(() => movable.pin(id)).toThrow("no mapped page");
      expect(() => movable.unmap(id)).toThrow(NumaError);
    }
    const other = movable.map();
    expect(() => movable.unpin(other)).toThrow("not pinned");
  });

  it("is not made when there is no id or no frame left, and nothing is lost", () => {
    const few = machine([8, 8, 8], { capacity: 2 });
    expect([few.movable.map(), few.movable.map(), few.movable.map()]).toEqual([1, 2, 0]);
    const small = machine([1, 1, 1], { capacity: 8 });
    const got = Array.from({ length: 8 }, () => small.movable.map());
    expect(got.filter((page) => page !== 0)).toHaveLength(3);
    small.movable.unmap(got[0]);
    expect(small.movable.map()).not.toBe(0);
  });
});

describe("balancing", () => {
  it("moves a page to the node that uses it twice in a row", () => {
    const moves: string[] = [];
    const { hal, movable, read, write } = machine([4, 4, 4], {
      observer: { onMove: (page, from, to, reason) => moves.push(`${page} ${from} ${to} ${reason}`) },
    });
    const page = movable.map(AllocHint.strictNode(0));
    write(page, 5);
    hal.cpu = 1;
    read(page);
    expect(movable.balance()).toBe(0);
    read(page);
    expect(movable.balance()).toBe(1);
    expect(read(page)).toBe(5);
    expect(movable.nodeOf(page)).toBe(1);
    expect(moves).toEqual([`${page} 0 1 balance`]);
    expect(movable.stats()).toMatchObject({ balanced: 1, localAccesses: 2, remoteAccesses: 2 });
  });

  it("leaves a page alone that two nodes use in turn", () => {
    const { hal, movable, read } = machine([4, 4, 4]);
    const page = movable.map(AllocHint.strictNode(0));
    for (let i = 0; i < 20; i++) {
      hal.cpu = i % 2;
      read(page);
      expect(movable.balance()).toBe(0);
    }
  });

  it("brings a page back that was used locally for long and then moved away", () => {
    const { hal, movable, read } = machine([4, 4, 4]);
    hal.cpu = 1;
    const page = movable.map(AllocHint.strictNode(1));
    for (let i = 0; i < 100; i++) read(page);
    movable.migrate(page, 2);
    read(page);
    read(page);
    expect(movable.balance()).toBe(1);
    expect(movable.nodeOf(page)).toBe(1);
  });

  it("drops notes when its ring is full, counts them, and notes the page again later", () => {
    const { hal, movable, read } = machine([128, 128, 1], { capacity: 128 });
    const list = Array.from({ length: 100 }, () => movable.map(AllocHint.strictNode(0)));
    hal.cpu = 1;
    for (const page of list) {
      read(page);
      read(page);
    }
    expect(movable.stats().dropped).toBe(38);
    expect(movable.balance(1000)).toBe(62);
    for (const page of list) read(page);
    expect(movable.balance(1000)).toBe(38);
    expect(list.every((page) => movable.nodeOf(page) === 1)).toBe(true);
  });
});

describe("reclaim", () => {
  it("demotes cold pages to the node without CPUs and keeps those in use", () => {
    const { pages, movable, read, write } = machine([8, 8, 4]);
    const list = Array.from({ length: 8 }, () => movable.map(AllocHint.strictNode(0)));
    for (const page of list) write(page, page);
    // The first pass takes the reference of every page, so one use afterwards tells hot from cold.
    expect(movable.reclaim(0, PAGE)).toBe(PAGE);
    for (const page of list.slice(4)) read(page);
    expect(movable.reclaim(0, 3 * PAGE)).toBe(3 * PAGE);
    expect(pages.freeBytes(0)).toBe(4 * PAGE);
    expect(pages.freeBytes(2)).toBe(0);
    expect(list.slice(4).every((page) => movable.nodeOf(page) === 0)).toBe(true);
    expect(list.every((page) => read(page) === page)).toBe(true);
    expect(movable.stats().demoted).toBe(4);
  });

  it("evicts when there is nowhere to demote to, and the page can be filled again", () => {
    const { hal, pages, movable, write, read } = machine([2, 2, 1]);
    const swap = new Map<number, number>();
    const bytes = new Uint8Array(pages.buffer);
    const list = [1, 2].map(() => movable.map(AllocHint.strictNode(0)));
    for (const page of list) write(page, 40 + page);
    pages.alloc(PAGE, AllocHint.strictNode(2));
    const freed = movable.reclaim(0, 2 * PAGE, (page, offset, size) => {
      expect(size).toBe(PAGE);
      swap.set(page, bytes[offset]);
      return page === list[0];
    });
    expect(freed).toBe(PAGE);
    expect(movable.nodeOf(list[0])).toBe(-1);
    expect(movable.pin(list[0])).toBe(0);
    expect(read(list[1])).toBe(40 + list[1]);
    hal.cpu = 1;
    expect(movable.populate(list[0])).toBe(true);
    write(list[0], swap.get(list[0])!);
    expect(read(list[0])).toBe(40 + list[0]);
    expect(movable.nodeOf(list[0])).toBe(1);
    expect(movable.stats().evicted).toBe(1);
  });

  it("ends when everything is pinned or nothing is there", () => {
    const { movable } = machine([2, 2, 2]);
    expect(movable.reclaim(0, PAGE)).toBe(0);
    const page = movable.map(AllocHint.strictNode(0));
    movable.pin(page);
    expect(movable.reclaim(0, PAGE, () => true)).toBe(0);
    expect(() => movable.reclaim(9, PAGE)).toThrow(NumaError);
  });
});

describe("model", () => {
  const command = fc.record({
    what: fc.constantFrom("map", "unmap", "write", "read", "migrate", "balance", "reclaim"),
    pick: fc.nat(),
    node: fc.integer({ min: 0, max: 2 }),
    cpu: fc.integer({ min: 0, max: 1 }),
  });

  it("never loses or mixes content, and returns every frame", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 100 }), (commands) => {
        const { hal, pages, movable, write, read } = machine([6, 5, 4], { capacity: 12 });
        const content = new Map<number, number>();
        let next = 0;
        for (const { what, pick, node, cpu } of commands) {
          hal.cpu = cpu;
          const page = [...content.keys()][pick % Math.max(1, content.size)];
          if (what === "map") {
            const made = movable.map(AllocHint.preferNode(node));
            expect(content.has(made)).toBe(false);
            if (made !== 0) content.set(made, (next = (next + 1) & 0xff));
            if (made !== 0) write(made, next);
          } else if (what === "balance") movable.balance();
          else if (what === "reclaim") movable.reclaim(node, 2 * PAGE);
          else if (page === undefined) continue;
          else if (what === "unmap") {
            movable.unmap(page);
            content.delete(page);
          } else if (what === "write") {
            content.set(page, (next = (next + 1) & 0xff));
            write(page, next);
          } else if (what === "migrate") {
            if (movable.migrate(page, node)) expect(movable.nodeOf(page)).toBe(node);
          } else expect(read(page)).toBe(content.get(page));
        }
        for (const [page, value] of content) expect(read(page)).toBe(value);
        const free = [0, 1, 2].reduce((sum, node) => sum + pages.freeBytes(node), 0);
        expect(free).toBe(pages.totalBytes - content.size * PAGE);
        for (const page of content.keys()) movable.unmap(page);
        expect([0, 1, 2].map((node) => pages.freeBytes(node))).toEqual([6 * PAGE, 5 * PAGE, 4 * PAGE]);
        expect(pages.verify()).toEqual([]);
      }),
      { numRuns: 80 },
    );
  });
});

describe("threads", () => {
  it("read whole pages while another thread moves them about", async () => {
    const hal = WorkerHal.create({ possibleCpus: 2 });
    const zones = [0, 1].map((node) => ({ node, bytes: 16 * PAGE }));
    const pages = PageAllocator.create({ zones, hal, nodeOfCpu: [0, 1] });
    const movable = MovablePages.create({ pages, hal, capacity: 8 });
    const words = new Int32Array(pages.buffer);
    const list = Array.from({ length: 8 }, () => movable.map());
    for (const page of list) {
      const offset = movable.pin(page) / 4;
      words.fill(page, offset, offset + PAGE / 4);
      movable.unpin(page);
    }
    const stop = new Int32Array(new SharedArrayBuffer(8));
    const entry = new URL("../fixtures/read-movable.mjs", import.meta.url);
    const workerData = { hal: hal.handle, pages: pages.handle, movable: movable.handle, list, stop, cpu: 1 };
    const worker = new Worker(entry, { workerData, execArgv: [] });
    const result = new Promise<{ reads: number; torn: number }>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    while (Atomics.load(stop, 1) === 0) Atomics.wait(stop, 1, 0, 20);
    let moves = 0;
    for (let round = 0; round < 4000; round++) {
      if (movable.migrate(list[round % 8], (round >> 3) & 1)) moves++;
    }
    Atomics.store(stop, 0, 1);
    const { reads, torn } = await result;
    expect(torn).toBe(0);
    expect(reads).toBeGreaterThan(0);
    expect(moves).toBeGreaterThan(0);
    for (const page of list) movable.unmap(page);
    expect(pages.freeBytes(0) + pages.freeBytes(1)).toBe(pages.totalBytes);
    expect(pages.verify()).toEqual([]);
  });
});
