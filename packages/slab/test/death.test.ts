import { describe, expect, it } from "vitest";
import { KmemCache, SharedPages } from "../src/index.ts";
import type { KmemCacheOptions } from "../src/index.ts";
import { dieAfter, withDyingMemory } from "./dying-memory.ts";
import { SwitchingHal } from "./switching-hal.ts";

interface Scene {
  readonly hal: SwitchingHal;
  readonly pages: SharedPages;
  readonly cache: KmemCache;
  /** Objects that CPU 1, which will die, has been given, and those of CPU 0. */
  readonly mine: number[];
  readonly theirs: number[];
}

/** What a CPU does while it dies. */
type Work = (scene: Scene) => void;

const churn: Work = ({ cache, mine }) => {
  for (let i = 0; i < 9; i++) mine.push(cache.alloc());
  for (let i = 0; i < 5; i++) cache.free(mine.pop()!);
  for (let i = 0; i < 3; i++) mine.push(cache.alloc());
  while (mine.length > 0) cache.free(mine.pop()!);
  cache.shrink();
};

const freeTheirs: Work = ({ cache, theirs }) => {
  while (theirs.length > 4) cache.free(theirs.pop()!);
  cache.free(theirs.pop()!);
};

const drainAll: Work = ({ cache, mine }) => {
  for (let i = 0; i < 6; i++) mine.push(cache.alloc());
  while (mine.length > 0) cache.free(mine.pop()!);
};

/** CPU 0 frees objects of CPU 1's node, which CPU 1 takes while it allocates. */
const giveBack: Work = ({ hal, cache, theirs }) => {
  const objects = Array.from({ length: 6 }, () => cache.alloc());
  hal.cpu = 0;
  for (const object of objects) cache.free(object);
  expect(theirs.length).toBe(12);
  hal.cpu = 1;
};

function scene(options: Partial<KmemCacheOptions>): Scene {
  const hal = new SwitchingHal(2);
  const pages = SharedPages.create({ bytes: 1 << 13, pageBytes: 256, hal });
  const cache = KmemCache.create({
    name: "t",
    objectSize: 40,
    pages,
    hal,
    magazineSize: 2,
    depotMagazines: 1,
    ...options,
  });
  const theirs = Array.from({ length: 12 }, () => cache.alloc());
  hal.cpu = 1;
  return { hal, pages, cache, mine: [], theirs };
}

/** Every object out of the cache that no live CPU knows of belongs to the dead one: at most what it had, and one on its way. */
function assertWhole({ hal, pages, cache, theirs }: Scene, lostAtMost: number, before: number): void {
  hal.cpu = 0;
  cache.reportDead(1);
  cache.shrink();
  cache.flushCpu(0);
  const out = new Set<number>();
  cache.forEachOutstanding((object) => out.add(object));
  const { activeObjects, cachedObjects, slabs } = cache.stats();
  expect(cachedObjects).toBe(0);
  expect(activeObjects).toBe(out.size);
  for (const object of theirs) expect(out.has(object)).toBe(true);
  expect(out.size - theirs.length).toBeLessThanOrEqual(lostAtMost);
  // What is left serves as before: all of the memory, and no object twice.
  const rest: number[] = [];
  for (let object = cache.alloc(); object !== 0; object = cache.alloc()) rest.push(object);
  expect(new Set([...rest, ...out]).size).toBe(rest.length + out.size);
  for (const object of [...rest, ...theirs]) cache.free(object);
  expect(slabs).toBeLessThanOrEqual(out.size);
  expect(cache.destroy()).toBe(out.size - theirs.length);
  // Slabs of lost objects stay; a block that was between the page source and the cache may be lost, no other.
  expect(before - pages.freePageCount).toBeLessThanOrEqual(
    (1 + out.size - theirs.length) * 2 ** cache.handle.geometry.order,
  );
}

describe("the death of a thread at every write", () => {
  const nothing: Work = () => undefined;
  for (const [name, before, work, options] of [
    ["allocates, frees and shrinks", nothing, churn, {}],
    ["allocates, frees and shrinks with debug checks", nothing, churn, { debug: true }],
    ["frees objects of another node", nothing, freeTheirs, { nodeOfCpu: [0, 1] }],
    ["takes what another node freed", giveBack, drainAll, { nodeOfCpu: [0, 1] }],
    ["works beside a node of its own", nothing, churn, { nodeOfCpu: [0, 1] }],
  ] as const) {
    it(`leaves the cache whole when it ${name}`, () => {
      let died = 0;
      for (let steps = 0; ; steps++) {
        const finished = withDyingMemory(() => {
          const made = scene(options);
          before(made);
          const dead = dieAfter(steps, () => work(made));
          // An object that was popped before the death may be with the dead CPU or in the cache again.
          const inItsHands = made.mine.length + 12 - made.theirs.length;
          if (dead) assertWhole(made, inItsHands + 2, made.pages.totalPages);
          return !dead;
        });
        if (finished) break;
        died++;
      }
      expect(died).toBeGreaterThan(20);
    });
  }
});
