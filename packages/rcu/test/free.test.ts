import { describe, expect, it } from "vitest";
import { POISON_BYTE, poisonFreed, Rcu, RcuPointer, type RcuFreeTarget } from "../src/index.ts";
import { ManyCpus } from "./many-cpus.ts";

/** Takes offsets one by one, or in bulk. */
class Recorder implements RcuFreeTarget {
  readonly freed: number[] = [];
  readonly bulks: number[] = [];
  free(offset: number): void {
    this.freed.push(offset);
    this.bulks.push(1);
  }
}

class BulkRecorder extends Recorder {
  freeBulk(offsets: Int32Array, count: number): void {
    this.freed.push(...offsets.subarray(0, count));
    this.bulks.push(count);
  }
}

describe("deferred frees", () => {
  it("reach their target after a grace period, in order", () => {
    const rcu = Rcu.create();
    const target = new Recorder();
    for (const offset of [64, 128, 192]) rcu.free(target, offset);
    expect(target.freed).toEqual([]);
    rcu.quiescent();
    expect(target.freed).toEqual([64, 128, 192]);
  });

  it("go in bulk where the target takes that, and mix with callbacks in order", () => {
    const rcu = Rcu.create();
    const target = new BulkRecorder();
    const order: string[] = [];
    for (let i = 1; i <= 100; i++) rcu.free(target, i);
    rcu.call(() => order.push(`after ${target.freed.length}`), 0);
    rcu.free(target, 101);
    rcu.quiescent();
    expect(target.freed).toEqual(Array.from({ length: 101 }, (_, i) => i + 1));
    expect(target.bulks).toEqual([64, 36, 1]);
    expect(order).toEqual(["after 100"]);
    expect(rcu.stats()).toMatchObject({ callbacksQueued: 102, callbacksInvoked: 102 });
  });

  it("of a grace period that has not ended stay behind those of one that has", () => {
    const hal = new ManyCpus(2);
    const rcu = Rcu.create({ hal });
    const target = new BulkRecorder();
    const quiescent = (): void => [0, 1].forEach((cpu) => hal.on(cpu, () => rcu.quiescent()));
    [0, 1].forEach((cpu) => hal.on(cpu, () => rcu.online()));
    rcu.free(target, 1);
    hal.on(1, () => rcu.quiescent());
    rcu.free(target, 2);
    hal.on(0, () => rcu.quiescent());
    expect(target.freed).toEqual([1]);
    quiescent();
    quiescent();
    expect(target.freed).toEqual([1, 2]);
  });

  it("of a million objects need a bounded ring and lose none", () => {
    const rcu = Rcu.create({ callbackCapacity: 1024 });
    let freed = 0;
    let most = 0;
    const target: RcuFreeTarget = { free: () => void freed++, freeBulk: (_offsets, count) => void (freed += count) };
    for (let i = 1; i <= 1_000_000; i++) {
      if (!rcu.tryFree(target, i)) {
        rcu.quiescent();
        rcu.free(target, i);
      }
      if ((i & 255) === 0) most = Math.max(most, rcu.pendingCallbacks());
    }
    rcu.quiescent();
    expect(freed).toBe(1_000_000);
    expect(most).toBeLessThanOrEqual(1024);
    expect(rcu.pendingCallbacks()).toBe(0);
  });

  it("are poisoned first in debug builds, and not before the grace period", () => {
    const rcu = Rcu.create();
    const buffer = new SharedArrayBuffer(64);
    const bytes = new Uint8Array(buffer).fill(1);
    for (const target of [new Recorder(), new BulkRecorder()]) {
      bytes.fill(1);
      rcu.free(poisonFreed(target, buffer, 16), 16);
      expect(bytes.every((byte) => byte === 1)).toBe(true);
      rcu.quiescent();
      expect(target.freed).toEqual([16]);
      expect([...bytes.subarray(16, 32)]).toEqual(Array.from({ length: 16 }, () => POISON_BYTE));
      expect([bytes[15], bytes[32]]).toEqual([1, 1]);
    }
  });
});

describe("an RCU pointer", () => {
  it("gives what it replaces to exactly one writer, and to the target after a grace period", () => {
    const rcu = Rcu.create();
    const target = new Recorder();
    const pointer = new RcuPointer(new Int32Array(new SharedArrayBuffer(8)), 1);
    expect(pointer.load()).toBe(0);
    pointer.replace(64, rcu, target);
    pointer.replace(128, rcu, target);
    expect(pointer.load()).toBe(128);
    expect(pointer.compareExchange(64, 192)).toBe(false);
    expect(pointer.compareExchange(128, 192)).toBe(true);
    expect(pointer.exchange(0)).toBe(192);
    rcu.quiescent();
    expect(target.freed).toEqual([64]);
  });
});
