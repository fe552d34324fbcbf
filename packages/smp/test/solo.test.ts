import { describe, expect, it } from "vitest";
import {
  ApicFabric,
  Barriers,
  CpuManager,
  CpuMask,
  CpuState,
  CrossCalls,
  IoApic,
  IpiMailbox,
  IpiType,
  LocalApic,
  LockStatistics,
  LockValidator,
  McsLocks,
  Mutexes,
  PerCpuCounters,
  PerCpuData,
  RwLocks,
  SeqLocks,
  SharedApicBus,
  SpinLocks,
  TicketLocks,
  Tlb,
  TlbContexts,
  TlbShootdown,
} from "../src/index.ts";

/* One thread, no `hal`, nothing set up: what a user's first line does. */
describe("with no set-up, on one thread", () => {
  it.each([SpinLocks, TicketLocks, McsLocks, Mutexes, RwLocks, SeqLocks].map((Locks) => [Locks.name, Locks] as const))(
    "%s are taken and given back",
    (_name, Locks) => {
      const locks = Locks.create();
      expect([locks.lock(), locks.owner(), locks.tryLock()]).toEqual([false, 0, false]);
      locks.unlock();
      {
        using guard = locks.tryGuard();
        expect([guard === undefined, locks.isLocked()]).toEqual([false, true]);
      }
      expect(locks.isLocked()).toBe(false);
    },
  );

  it("a barrier of one is passed, and locks are watched", () => {
    const statistics = LockStatistics.create();
    const watched = Mutexes.create({ name: "watched", observer: statistics });
    const checked = SpinLocks.create({ observer: LockValidator.create() });
    watched.guard()[Symbol.dispose]();
    checked.guard()[Symbol.dispose]();
    expect(statistics.snapshot()).toMatchObject([{ name: "watched", acquisitions: 1 }]);
    expect([Barriers.create().wait(), Barriers.create().members()]).toEqual([true, 1]);
  });

  it("per-CPU memory counts", () => {
    const counters = PerCpuCounters.create({ names: ["events"] });
    counters.add(0, 3);
    const data = PerCpuData.create();
    data.enterHardirq();
    expect([counters.sum(0), data.inInterrupt(), data.preemptible()]).toEqual([3, true, false]);
    data.leaveHardirq();
    expect([data.inInterrupt(), data.preemptible()]).toEqual([false, true]);
  });

  it("a CPU sends to itself, calls itself and forgets its own translations", () => {
    const mailbox = IpiMailbox.create();
    const got: number[] = [];
    mailbox.send("all", IpiType.Generic, 7);
    mailbox.receive((_type, payload) => got.push(payload));
    const calls = CrossCalls.create({ mailbox, functions: [(_from, a, b) => a * b] });
    const contexts = new TlbContexts(new Tlb());
    const flush = (space: number, first: number, count: number, stride: number): void =>
      contexts.flush(space, first, count, stride);
    const shootdown = TlbShootdown.create({ mailbox, flush });
    shootdown.enter(0);
    contexts.switchTo(0);
    contexts.tlb.insert(contexts.tag, 5, 50);
    expect([got, calls.call(0, 0, 6, 7), calls.callMany("all", 0), contexts.tlb.lookup(contexts.tag, 5)]).toEqual([
      [7],
      42,
      1,
      50,
    ]);
    shootdown.invalidate(0, 5, 1);
    expect(contexts.tlb.lookup(contexts.tag, 5)).toBe(-1);
  });

  it("the boot processor is online, and its interrupt controllers work on either bus", () => {
    const manager = CpuManager.create();
    manager.bringCpuOnline(manager.addCpu(0));
    expect([manager.state(0), manager.onlineMask().equals(CpuMask.of(1, [0]))]).toEqual([CpuState.Online, true]);
    for (const bus of [new ApicFabric(), SharedApicBus.create()]) {
      const apic = new LocalApic({ apicId: 0, bus });
      bus.connect(apic);
      const ioApic = new IoApic({ bus });
      bus.connectIoApic(ioApic);
      apic.write(0xf0, 0x1ff);
      ioApic.write(0, 0x10);
      ioApic.write(0x10, 0x41);
      ioApic.setPin(0, true);
      expect(apic.acknowledge()).toBe(0x41);
    }
  });
});
