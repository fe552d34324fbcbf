import { describe, expect, it } from "vitest";
import { jsonCodec, Rcu, RcuCell } from "../src/index.ts";

function newCell(): { rcu: Rcu; cell: RcuCell<number> } {
  const rcu = Rcu.create();
  return { rcu, cell: RcuCell.create<number>({ rcu, codec: jsonCodec, initial: 0, maxBytes: 16 }) };
}

describe("a subscription to an RCU cell", () => {
  it("is told each version that is published while it waits, once", async () => {
    const { rcu, cell } = newCell();
    const told: [number, number][] = [];
    let wake = (): void => undefined;
    const subscription = cell.onUpdate((value, version) => {
      told.push([value, version]);
      wake();
    });
    for (let value = 10; value < 15; value++) {
      const heard = new Promise<void>((resolve) => (wake = resolve));
      cell.update(value);
      await heard;
      rcu.quiescent();
    }
    subscription[Symbol.dispose]();
    expect(told).toEqual([10, 11, 12, 13, 14].map((value, at) => [value, at + 2]));
  });

  it("is told the last of several versions in one turn, and nothing after its end", async () => {
    const { cell } = newCell();
    const told: number[] = [];
    const other: number[] = [];
    const subscription = cell.onUpdate((value) => told.push(value));
    const gone = cell.onUpdate((value) => other.push(value));
    gone[Symbol.dispose]();
    gone[Symbol.dispose]();
    const seen = cell.version;
    for (let value = 1; value <= 3; value++) cell.update(value);
    await cell.nextUpdate(seen);
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(told).toEqual([3]);
    expect(other).toEqual([]);
    subscription[Symbol.dispose]();
  });

  it("decodes for a listener on a CPU that is offline, and leaves it offline", async () => {
    const { rcu, cell } = newCell();
    rcu.offline();
    const heard = new Promise<number>((resolve) => {
      const subscription = cell.onUpdate((value) => {
        subscription[Symbol.dispose]();
        resolve(value);
      });
    });
    cell.update(7);
    expect(await heard).toBe(7);
    expect(rcu.isOnline()).toBe(false);
  });

  it("hands what its listener throws to onError and goes on", async () => {
    const { cell } = newCell();
    const errors: unknown[] = [];
    const told: number[] = [];
    const onError = (error: unknown): void => void errors.push(error);
    const subscription = cell.onUpdate(
      (value) => {
        told.push(value);
        if (value === 1) throw new Error("planted");
      },
      { onError },
    );
    cell.update(1);
    while (told.length < 1) await new Promise((resolve) => setTimeout(resolve, 1));
    cell.update(2);
    while (told.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    subscription[Symbol.dispose]();
    expect(told).toEqual([1, 2]);
    expect(errors).toEqual([new Error("planted")]);
  });
});
