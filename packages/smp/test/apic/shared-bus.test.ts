import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ApicFabric,
  ApicRegister,
  IoApic,
  IoApicRegister,
  LocalApic,
  SharedApicBus,
  apicCommand,
  msiAddress,
  msiData,
  redirectionEntry,
  type ApicBus,
  type ApicCore,
  type ApicDeliveryMode,
  type ApicMessage,
} from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const MODES: readonly ApicDeliveryMode[] = ["fixed", "lowest-priority", "smi", "nmi", "init", "startup", "ext-int"];
const FIXED = { mode: "fixed", vector: 0x40, shorthand: 0, logical: false, levelTriggered: false } as const;

function write(apic: LocalApic, offset: number, value: number): void {
  if (apic.x2apic) apic.writeMsr(0x800 + (offset >> 4), value);
  else apic.write(offset, value);
}

function apicOn(bus: ApicBus, apicId: number, told: string[], x2apic = false): LocalApic {
  const core: ApicCore = {
    init: () => void told.push("init"),
    startup: (vector) => void told.push(`startup ${vector}`),
    nmi: () => void told.push("nmi"),
    smi: () => void told.push("smi"),
    extInt: () => void told.push("ext-int"),
  };
  const apic = new LocalApic({ apicId, bus, core, x2apic });
  write(apic, ApicRegister.SpuriousVector, 0x1ff);
  return apic;
}

/** As many threads as ids: each has a bus of its own, joined by the handle, and one APIC. */
function threads(ids: readonly number[], options: { x2apic?: boolean } = {}) {
  const hal = new SeveralCpus(ids.length);
  const made = SharedApicBus.create({ hal });
  const all = ids.map((apicId, cpu) =>
    hal.on(cpu, () => {
      const bus = cpu === 0 ? made : SharedApicBus.attach(made.handle, { hal });
      const told: string[] = [];
      const apic = apicOn(bus, apicId, told, options.x2apic);
      bus.connect(apic);
      return { bus, apic, told };
    }),
  );
  const poll = (cpu: number): number => hal.on(cpu, () => all[cpu].bus.poll());
  return { hal, handle: made.handle, all, poll };
}

describe("SharedApicBus", () => {
  it("works for one thread with no set-up: what it sends itself arrives at once", () => {
    const bus = SharedApicBus.create();
    const apic = apicOn(bus, 3, []);
    bus.connect(apic);
    apic.write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector: 0x55, shorthand: 1 }));
    expect([bus.poll(), apic.acknowledge()]).toEqual([0, 0x55]);
  });

  it("posts to another thread's APIC, which has it when it polls; of many posts the first notifies", () => {
    const { hal, all, poll } = threads([0, 7]);
    for (const vector of [0x40, 0xfe, 0x41, 0x40])
      expect(all[0].bus.deliver(0, { ...FIXED, vector, destination: 7 })).toBe(1);
    expect([hal.kicked, all[1].apic.hasDeliverable(), all[1].bus.isOutstanding(1)]).toEqual([[1], false, true]);
    expect(poll(1)).toBe(3);
    expect([all[1].apic.acknowledge(), all[1].apic.read(ApicRegister.InterruptRequest + 0x20)]).toEqual([0xfe, 3]);
    expect([poll(1), all[1].bus.isOutstanding(1)]).toEqual([0, false]);
    all[0].bus.deliver(0, { ...FIXED, destination: 7 });
    expect(hal.kicked).toEqual([1, 1]);
    expect(all[0].bus.deliver(0, { ...FIXED, destination: 9 })).toBe(0);
  });

  it("starts a processor on another thread by INIT and two start-up interrupts, of which the first counts", () => {
    const { all, poll } = threads([0, 1]);
    const [boot, other] = all;
    const send = (mode: "init" | "startup" | "nmi", vector = 0): void => {
      boot.apic.write(ApicRegister.InterruptCommandHigh, 1 << 24);
      boot.apic.write(ApicRegister.InterruptCommandLow, apicCommand({ mode, vector }));
    };
    boot.bus.deliver(0, { ...FIXED, destination: 1 });
    send("nmi");
    send("init");
    send("startup", 0x08);
    send("startup", 0x09);
    send("nmi");
    poll(1);
    expect(other.told).toEqual(["init", "startup 8", "nmi"]);
    expect([other.apic.enabled, other.apic.hasDeliverable()]).toEqual([false, false]);
    send("startup", 0x0a);
    send("init");
    poll(1);
    expect(other.told).toEqual(["init", "startup 8", "nmi", "init"]);
    expect(other.apic.waitingForStartup).toBe(true);
  });

  it("sees what software has written on the other thread: logical ids, modes, whether the APIC is enabled", () => {
    const { all, poll } = threads([0, 1, 2]);
    const [sender] = all;
    const reach = (message: Partial<ApicMessage>): number =>
      sender.bus.deliver(0, { ...FIXED, destination: 0b100, logical: true, ...message });
    expect(reach({})).toBe(0);
    all[2].apic.write(ApicRegister.LogicalDestination, 0b100 << 24);
    expect(reach({})).toBe(1);
    expect(poll(2)).toBe(1);
    all[2].apic.writeMsr(0x1b, 0xfee00000);
    expect(reach({})).toBe(0);
    all[1].apic.write(ApicRegister.SpuriousVector, 0xff);
    expect(reach({ mode: "lowest-priority", shorthand: 3 })).toBe(0);
  });

  it("gives lowest-priority messages in turns, and prefers who does less", () => {
    const { hal, all, poll } = threads([0, 1, 2]);
    const winner = (): number => {
      hal.kicked.length = 0;
      all[0].bus.deliver(0, { ...FIXED, mode: "lowest-priority", shorthand: 3, destination: 0 });
      const [cpu] = hal.kicked;
      poll(cpu);
      all[cpu].apic.acknowledge();
      write(all[cpu].apic, ApicRegister.EndOfInterrupt, 0);
      return cpu;
    };
    expect([winner(), winner(), winner()]).toEqual([1, 2, 1]);
    all[2].apic.write(ApicRegister.TaskPriority, 0x20);
    expect([winner(), winner()]).toEqual([1, 1]);
    all[2].apic.write(ApicRegister.TaskPriority, 0);
    all[1].apic.acceptFixed(0x50);
    expect([winner(), winner()]).toEqual([2, 2]);
  });

  it("brings a level from an I/O APIC to another thread, and its end back, until the pin is released", () => {
    const { hal, all, poll } = threads([0, 1]);
    const ioApic = new IoApic({ bus: all[0].bus });
    all[0].bus.connectIoApic(ioApic);
    ioApic.write(IoApicRegister.Select, IoApicRegister.Redirection + 1);
    ioApic.write(IoApicRegister.Window, 1 << 24);
    ioApic.write(IoApicRegister.Select, IoApicRegister.Redirection);
    ioApic.write(IoApicRegister.Window, redirectionEntry({ vector: 0x61, level: true }));
    ioApic.setPin(0, true);
    const serve = (): number => {
      poll(1);
      const vector = all[1].apic.acknowledge();
      if (vector >= 0) hal.on(1, () => all[1].apic.write(ApicRegister.EndOfInterrupt, 0));
      return vector;
    };
    expect([serve(), serve()]).toEqual([0x61, -1]);
    expect([poll(0), serve()]).toEqual([1, 0x61]);
    ioApic.setPin(0, false);
    expect([poll(0), serve()]).toEqual([1, -1]);
  });

  it("posts message-signalled interrupts of devices that live on no CPU of the APIC's", () => {
    const { all, poll } = threads([0, 5]);
    const address = msiAddress({ destination: 5 });
    expect(all[0].bus.deviceWrite(address, msiData({ vector: 0x71 }))).toBe(1);
    expect([poll(1), all[1].apic.acknowledge()]).toEqual([1, 0x71]);
    expect(all[0].bus.deviceWrite(0x1000, 0)).toBe(0);
  });

  it("keeps posted what comes after a handler that throws, and notifies again", () => {
    const { hal, all, poll } = threads([0, 1]);
    const throws = new LocalApic({
      apicId: 9,
      bus: all[1].bus,
      core: { nmi: () => expect.unreachable("nmi"), smi: () => void all[1].told.push("smi") },
      observer: {
        onAccept: (_apic, vector) => {
          if (vector === 0x41) throw new Error("a handler's fault");
        },
      },
    });
    hal.on(1, () => all[1].bus.disconnect());
    hal.on(1, () => all[1].bus.connect(throws));
    throws.write(ApicRegister.SpuriousVector, 0x1ff);
    for (const vector of [0x41, 0x42, 0x80]) all[0].bus.deliver(0, { ...FIXED, vector, destination: 9 });
    for (const mode of ["nmi", "smi"] as const) all[0].bus.deliver(0, { ...FIXED, mode, destination: 9 });
    expect(() => poll(1)).toThrow("a handler's fault");
    expect(hal.kicked).toEqual([1, 1]);
    expect(() => poll(1)).toThrow("nmi");
    expect(hal.kicked).toEqual([1, 1, 1]);
    expect([poll(1), all[1].told]).toEqual([1, ["smi"]]);
    expect([throws.acknowledge(), throws.read(ApicRegister.InterruptRequest + 0x20)]).toEqual([0x80, 6]);
  });

  it("refuses a second APIC of a CPU, a second one with an id, and CPUs that are not there", () => {
    const { hal, all } = threads([0, 1, 2]);
    const refused = (code: string, action: () => void): void =>
      expect(action).toThrow(expect.objectContaining({ code }) as Error);
    refused("SMP_INVALID_ARGUMENT", () => all[0].bus.connect(apicOn(all[0].bus, 8, []), 1));
    refused("SMP_INVALID_CPU", () => all[0].bus.connect(apicOn(all[0].bus, 8, []), 3));
    hal.on(2, () => all[2].bus.disconnect());
    refused("SMP_INVALID_ARGUMENT", () => all[2].bus.connect(apicOn(all[2].bus, 1, []), 2));
    expect(all[0].bus.deliver(0, { ...FIXED, destination: 2 })).toBe(0);
  });

  it("forgets the APIC of a thread that has died, and what it had been sent; its CPU gets a new one", () => {
    const { hal, handle, all } = threads([0, 1]);
    all[0].bus.deliver(0, { ...FIXED, destination: 1 });
    all[0].bus.disconnect(1);
    expect(all[0].bus.deliver(0, { ...FIXED, destination: 1 })).toBe(0);
    hal.on(1, () => {
      const bus = SharedApicBus.attach(handle, { hal });
      const apic = apicOn(bus, 1, []);
      bus.connect(apic);
      expect([bus.poll(), apic.hasDeliverable()]).toEqual([0, false]);
      expect(all[0].bus.deliver(0, { ...FIXED, destination: 1 })).toBe(1);
      expect([bus.poll(), apic.hasDeliverable()]).toEqual([1, true]);
    });
  });

  it("says that a machine without kicks cannot sleep", async () => {
    const bus = SharedApicBus.create();
    expect(() => bus.wait(0)).toThrow(expect.objectContaining({ code: "SMP_CANNOT_BLOCK" }) as Error);
    await expect(bus.waitAsync(0)).rejects.toMatchObject({ code: "SMP_CANNOT_BLOCK" });
  });

  it("does to APICs of many threads what ApicFabric does to those of one", () => {
    const message = fc.record({
      mode: fc.constantFrom(...MODES),
      vector: fc.integer({ min: 0, max: 255 }),
      destination: fc.oneof(fc.integer({ min: 0, max: 9 }), fc.constantFrom(0xffffffff, 0x10003)),
      shorthand: fc.constantFrom<0 | 1 | 2 | 3>(0, 0, 1, 2, 3),
      logical: fc.boolean(),
      levelTriggered: fc.boolean(),
    });
    const step = fc.oneof(
      fc.record({ from: fc.integer({ min: -1, max: 3 }), message }),
      fc.record({
        cpu: fc.integer({ min: 0, max: 3 }),
        offset: fc.constantFrom(0x80, 0xb0, 0xd0, 0xe0, 0xf0),
        value: fc.nat(),
      }),
      fc.record({ taker: fc.integer({ min: 0, max: 3 }) }),
    );
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { maxLength: 40 }), (x2apic, steps) => {
        const { hal, all, poll } = threads([0, 1, 2, 3], { x2apic });
        const fabric = new ApicFabric();
        const told: string[][] = [[], [], [], []];
        const model = told.map((list, apicId) => {
          const apic = apicOn(fabric, apicId, list, x2apic);
          fabric.connect(apic);
          return apic;
        });
        for (const each of steps) {
          if ("message" in each) {
            const cpu = Math.max(each.from, 0);
            const reached = hal.on(cpu, () => all[cpu].bus.deliver(each.from, each.message));
            expect(reached).toBe(fabric.deliver(each.from, each.message));
            for (let other = 0; other < 4; other++) poll(other);
          } else if ("taker" in each) {
            expect(all[each.taker].apic.acknowledge()).toBe(model[each.taker].acknowledge());
          } else if (!x2apic || (each.offset !== 0xd0 && each.offset !== 0xe0)) {
            const value =
              each.offset === 0xb0 ? 0 : x2apic ? each.value & (each.offset === 0xf0 ? 0x1ff : 0xff) : each.value;
            hal.on(each.cpu, () => write(all[each.cpu].apic, each.offset, value));
            write(model[each.cpu], each.offset, value);
          }
          expect(all.map(({ apic }) => registers(apic))).toEqual(model.map((apic) => registers(apic)));
          expect(all.map((thread) => thread.told)).toEqual(told);
        }
      }),
      { numRuns: 150 },
    );
  });
});

function registers(apic: LocalApic): number[] {
  const words = [apic.processorPriority, apic.arbitrationPriority, apic.logicalDestination, apic.enabled ? 1 : 0];
  for (let offset = 0x100; offset < 0x280; offset += 0x10) {
    words.push(apic.x2apic ? apic.readMsr(0x800 + (offset >> 4)) : apic.read(offset));
  }
  return words;
}
