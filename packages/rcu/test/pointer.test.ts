import { afterEach, describe, expect, it, vi } from "vitest";
import { Rcu, RcuPointer, type RcuFlavour } from "../src/index.ts";
import { COMPLETED, CURRENT, ERA, WANTED } from "../src/grace-period-layout.ts";

const INDEX = 1;
const newWords = () => new Int32Array(new SharedArrayBuffer(8));

/** How often `words` is loaded by Atomics while `act` runs. */
function fetches(words: Int32Array, act: () => void): number {
  const load = vi.spyOn(Atomics, "load");
  act();
  const count = load.mock.calls.filter(([array]) => (array as unknown) === words).length;
  load.mockRestore();
  return count;
}

function inSection<T>(rcu: Rcu, act: () => T): T {
  const section = rcu.readLock();
  try {
    return act();
  } finally {
    rcu.readUnlock(section);
  }
}

/** A whole grace period, which this CPU passes. */
function gracePeriod(rcu: Rcu): void {
  const cookie = rcu.startPoll();
  while (!rcu.poll(cookie)) rcu.quiescent();
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each<RcuFlavour>(["qsbr", "memory-barrier", "sleepable"])("a pointer under flavour %s", (flavour) => {
  it("finds what was published through whichever object, at once", () => {
    const rcu = Rcu.create({ flavour });
    const words = newWords();
    const [pointer, other] = [new RcuPointer(words, INDEX, rcu), new RcuPointer(words, INDEX)];
    const seen: number[] = [];
    inSection(rcu, () => {
      seen.push(pointer.load());
      for (const offset of [64, 128, 64, 0, -1]) {
        other.exchange(offset);
        seen.push(pointer.load(), other.load());
      }
    });
    expect(seen).toEqual([0, 64, 64, 128, 128, 64, 64, 0, 0, -1, -1]);
  });

  it("is fetched by Atomics once, until a grace period has begun or something else is published", () => {
    const rcu = Rcu.create({ flavour });
    const words = newWords();
    const pointer = new RcuPointer(words, INDEX, rcu);
    const loadTwice = () =>
      fetches(words, () =>
        inSection(rcu, () => {
          pointer.load();
          pointer.load();
        }),
      );
    expect([loadTwice(), loadTwice()]).toEqual([1, 0]);
    gracePeriod(rcu);
    expect([loadTwice(), loadTwice()]).toEqual([1, 0]);
    pointer.exchange(64);
    expect([loadTwice(), loadTwice()]).toEqual([1, 0]);
  });
});

describe("what pointers have fetched", () => {
  it("is told apart and forgotten by the next grace period, for however many pointers", () => {
    const rcu = Rcu.create();
    const words = new Int32Array(new SharedArrayBuffer(4 * 10_000));
    const pointers = Array.from(words, (_, index) => new RcuPointer(words, index, rcu));
    for (let index = 0; index < words.length; index++) words[index] = index * 8;
    const sum = () => pointers.reduce((total, pointer) => total + pointer.load(), 0);
    const expected = (words.length * (words.length - 1) * 8) / 2;
    expect(sum()).toBe(expected);
    expect(fetches(words, () => expect(pointers.at(-1)?.load()).toBe(8 * (words.length - 1)))).toBe(0);
    gracePeriod(rcu);
    expect(fetches(words, () => expect(sum()).toBe(expected))).toBe(words.length);
  });

  it("is never kept without an rcu", () => {
    const words = newWords();
    const pointer = new RcuPointer(words, INDEX);
    expect(fetches(words, () => [pointer.load(), pointer.load()])).toBe(2);
  });

  it("is not kept by a CPU that comes back when the sequence of grace periods has come round to where it was", () => {
    const rcu = Rcu.create({ flavour: "memory-barrier" });
    const periods = new Int32Array(rcu.handle.memory);
    const words = newWords();
    const pointer = new RcuPointer(words, INDEX, rcu);
    const load = () => fetches(words, () => inSection(rcu, () => pointer.load()));
    const sequence = periods[CURRENT];
    const pretend = (latest: number) => {
      for (const word of [CURRENT, COMPLETED, WANTED]) periods[word] = latest;
    };
    expect([load(), load()]).toEqual([1, 0]);
    pretend(0x7fffffff);
    gracePeriod(rcu);
    expect([periods[CURRENT], periods[ERA]]).toEqual([-0x7fffffff, 1]);
    pretend(sequence);
    expect([load(), load()]).toEqual([1, 0]);
  });
});
