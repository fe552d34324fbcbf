import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  apicCommand,
  ApicRegister,
  LocalApic,
  x2apicMsr,
  type ApicBus,
  type ApicCore,
  type ApicMessage,
  type ApicObserver,
} from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

const ENABLE = 0x1ff;
const NO_BUS: ApicBus = { deliver: () => undefined };

const enabledApic = (options: { core?: ApicCore; observer?: ApicObserver } = {}): LocalApic => {
  const apic = new LocalApic({ apicId: 3, bus: NO_BUS, ...options });
  apic.write(ApicRegister.SpuriousVector, ENABLE);
  return apic;
};

/** Local APICs with these ids on one bus that delivers at once, all enabled, and what their cores were told. */
function connected(ids: readonly number[], x2apic = false) {
  const told: [id: number, what: string, vector?: number][] = [];
  const apics: LocalApic[] = [];
  const bus: ApicBus = {
    deliver(from, message) {
      for (const apic of apics.filter((each) => each.isAddressed(from, message))) apic.receive(message);
    },
  };
  for (const apicId of ids) {
    const core: ApicCore = {
      init: () => told.push([apicId, "init"]),
      startup: (vector) => told.push([apicId, "startup", vector]),
      nmi: () => told.push([apicId, "nmi"]),
      smi: () => told.push([apicId, "smi"]),
    };
    const apic = new LocalApic({ apicId, bus, core, x2apic });
    if (x2apic) apic.writeMsr(x2apicMsr(ApicRegister.SpuriousVector), ENABLE);
    else apic.write(ApicRegister.SpuriousVector, ENABLE);
    apics.push(apic);
  }
  const receivers = (vector: number): number[] =>
    apics.filter((apic) => requested(apic, vector)).map(({ apicId }) => apicId);
  return { apics, told, receivers };
}

const bit = (apic: LocalApic, register: number, vector: number): boolean => {
  const offset = register + (vector >>> 5) * 16;
  const word = apic.x2apic ? apic.readMsr(x2apicMsr(offset)) : apic.read(offset);
  return ((word >>> (vector & 31)) & 1) === 1;
};
const requested = (apic: LocalApic, vector: number): boolean => bit(apic, ApicRegister.InterruptRequest, vector);

describe("LocalApic interrupts", () => {
  it("moves an interrupt from requested to in service to done", () => {
    const apic = enabledApic();
    expect(apic.acceptFixed(0x41)).toBe(true);
    expect(requested(apic, 0x41)).toBe(true);
    expect(apic.acknowledge()).toBe(0x41);
    expect(requested(apic, 0x41)).toBe(false);
    expect(bit(apic, ApicRegister.InService, 0x41)).toBe(true);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    expect(bit(apic, ApicRegister.InService, 0x41)).toBe(false);
    expect(apic.acknowledge()).toBe(-1);
  });

  it("delivers the highest vector first and lets only a higher class interrupt what is in service", () => {
    const apic = enabledApic();
    for (const vector of [0x31, 0x52, 0x51]) apic.acceptFixed(vector);
    expect(apic.acknowledge()).toBe(0x52);
    expect(apic.hasDeliverable()).toBe(false);
    apic.acceptFixed(0x60);
    expect(apic.acknowledge()).toBe(0x60);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    expect(apic.acknowledge()).toBe(-1);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    expect(apic.acknowledge()).toBe(0x51);
  });

  it("holds back interrupts up to the class of the task priority", () => {
    const apic = enabledApic();
    apic.acceptFixed(0x4f);
    apic.write(ApicRegister.TaskPriority, 0x40);
    expect(apic.hasDeliverable()).toBe(false);
    apic.write(ApicRegister.TaskPriority, 0x3f);
    expect(apic.acknowledge()).toBe(0x4f);
  });

  it("shows the processor priority that the manual derives from task priority and service", () => {
    const apic = enabledApic();
    apic.write(ApicRegister.TaskPriority, 0x35);
    expect(apic.read(ApicRegister.ProcessorPriority)).toBe(0x35);
    apic.acceptFixed(0x77);
    apic.acknowledge();
    expect(apic.read(ApicRegister.ProcessorPriority)).toBe(0x70);
  });

  it("counts a vector requested twice once", () => {
    const apic = enabledApic();
    apic.acceptFixed(0x80);
    apic.acceptFixed(0x80);
    expect(apic.acknowledge()).toBe(0x80);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    expect(apic.acknowledge()).toBe(-1);
  });

  it("accepts no fixed interrupt while software has it disabled, and then has its local vectors masked", () => {
    const apic = new LocalApic({ apicId: 0, bus: NO_BUS });
    expect(apic.enabled).toBe(false);
    expect(apic.acceptFixed(0x40)).toBe(false);
    apic.write(ApicRegister.LvtTimer, 0x40);
    expect(apic.read(ApicRegister.LvtTimer)).toBe(0x10040);
    apic.write(ApicRegister.SpuriousVector, ENABLE);
    apic.write(ApicRegister.LvtTimer, 0x40);
    expect(apic.read(ApicRegister.LvtTimer)).toBe(0x40);
    apic.write(ApicRegister.SpuriousVector, 0xff);
    expect(apic.read(ApicRegister.LvtTimer)).toBe(0x10040);
  });

  it("reports the end of an interrupt with its trigger mode", () => {
    const ended: unknown[] = [];
    const apic = enabledApic({ observer: { onEndOfInterrupt: (_apic, ...event) => ended.push(event) } });
    apic.acceptFixed(0x50, true);
    apic.acknowledge();
    apic.write(ApicRegister.EndOfInterrupt, 0);
    apic.acceptFixed(0x50);
    apic.acknowledge();
    apic.write(ApicRegister.EndOfInterrupt, 0);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    expect(ended).toEqual([
      [0x50, true],
      [0x50, false],
    ]);
  });

  it("agrees with a model of sets under any requests, acknowledgements, ends and task priorities", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("accept" as const), value: fc.integer({ min: 0, max: 255 }) }),
      fc.record({ kind: fc.constantFrom("acknowledge" as const, "end" as const), value: fc.constant(0) }),
      fc.record({ kind: fc.constant("task" as const), value: fc.integer({ min: 0, max: 255 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const apic = enabledApic();
        const irr = new Set<number>();
        const isr = new Set<number>();
        let task = 0;
        for (const { kind, value } of steps) {
          const priority = Math.max(task >> 4, ...[...isr].map((vector) => vector >> 4));
          if (kind === "accept") {
            expect(apic.acceptFixed(value)).toBe(value >= 16);
            if (value >= 16) irr.add(value);
          } else if (kind === "acknowledge") {
            const highest = Math.max(-1, ...irr);
            const deliverable = highest >> 4 > priority;
            expect(apic.hasDeliverable()).toBe(deliverable);
            expect(apic.acknowledge()).toBe(deliverable ? highest : -1);
            if (deliverable) irr.delete(highest);
            if (deliverable) isr.add(highest);
          } else if (kind === "end") {
            apic.write(ApicRegister.EndOfInterrupt, 0);
            isr.delete(Math.max(-1, ...isr));
          } else {
            task = value;
            apic.write(ApicRegister.TaskPriority, value);
          }
          for (const vector of [16, 31, 32, 64, 255]) {
            expect(requested(apic, vector)).toBe(irr.has(vector));
            expect(bit(apic, ApicRegister.InService, vector)).toBe(isr.has(vector));
          }
        }
      }),
    );
  });
});

describe("LocalApic messages", () => {
  it("starts a processor by INIT and start-up interrupts, the second of which does nothing", () => {
    const { apics, told } = connected([0, 4]);
    apics[1].acceptFixed(0x40);
    apics[0].write(ApicRegister.InterruptCommandHigh, 4 << 24);
    apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "init" }));
    expect(apics[1].waitingForStartup).toBe(true);
    expect(apics[1].enabled).toBe(false);
    expect(requested(apics[1], 0x40)).toBe(false);
    apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "startup", vector: 0x9a }));
    apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "startup", vector: 0x9a }));
    expect(told).toEqual([
      [4, "init"],
      [4, "startup", 0x9a],
    ]);
    expect(apics[1].waitingForStartup).toBe(false);
    expect(apics[1].read(ApicRegister.Id)).toBe(4 << 24);
  });

  it("does not send an INIT that is de-asserted", () => {
    const { apics, told } = connected([0, 4]);
    apics[0].write(ApicRegister.InterruptCommandHigh, 4 << 24);
    apics[0].write(ApicRegister.InterruptCommandLow, (5 << 8) | (1 << 15));
    expect(told).toEqual([]);
  });

  it("gives NMI to the processor whatever its priorities, but not while it waits for a start-up", () => {
    const { apics, told } = connected([0, 1]);
    apics[1].write(ApicRegister.TaskPriority, 0xff);
    apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "nmi", shorthand: 3 }));
    apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "smi", shorthand: 3 }));
    apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "init", shorthand: 3 }));
    apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "nmi", shorthand: 3 }));
    expect(told).toEqual([
      [1, "nmi"],
      [1, "smi"],
      [1, "init"],
    ]);
  });

  it.each([
    ["one", 0, 2, [2]],
    ["self", 1, 2, [1]],
    ["all", 2, 2, [0, 1, 2]],
    ["all others", 3, 2, [0, 2]],
    ["all by the broadcast id", 0, 0xff, [0, 1, 2]],
    ["nobody by an id that is not there", 0, 9, []],
  ] as const)("reaches %s", (_whom, shorthand, destination, expected) => {
    const { apics, receivers } = connected([0, 1, 2]);
    apics[1].write(ApicRegister.InterruptCommandHigh, destination << 24);
    apics[1].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector: 0x44, shorthand }));
    expect(receivers(0x44)).toEqual(expected);
  });

  it("reaches logical ids in the flat and in the cluster model", () => {
    const { apics, receivers } = connected([0, 1, 2]);
    const send = (vector: number, destination: number): number[] => {
      apics[0].write(ApicRegister.InterruptCommandHigh, destination << 24);
      apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector, logical: true }));
      return receivers(vector);
    };
    apics.forEach((apic, index) => apic.write(ApicRegister.LogicalDestination, (1 << index) << 24));
    expect(send(0x50, 0b101)).toEqual([0, 2]);
    expect(send(0x51, 0xff)).toEqual([0, 1, 2]);
    for (const apic of apics) apic.write(ApicRegister.DestinationFormat, 0);
    apics[2].write(ApicRegister.LogicalDestination, 0x21 << 24);
    expect(send(0x52, 0x03)).toEqual([0, 1]);
    expect(send(0x53, 0x21)).toEqual([2]);
  });

  it("addresses more than 255 processors in x2APIC mode, by id and by cluster", () => {
    const { apics, receivers } = connected([0, 300, 301, 0x10001], true);
    const command = x2apicMsr(ApicRegister.InterruptCommandLow);
    const send = (vector: number, destination: number, logical: boolean): number[] => {
      apics[0].writeMsr(command, apicCommand({ mode: "fixed", vector, logical }), destination);
      return receivers(vector);
    };
    expect(apics[1].readMsr(x2apicMsr(ApicRegister.Id))).toBe(300);
    expect(send(0x50, 300, false)).toEqual([300]);
    expect(send(0x51, 0xffffffff, false)).toEqual([0, 300, 301, 0x10001]);
    expect(send(0x52, (18 << 16) | (0b11 << 12), true)).toEqual([300, 301]);
    expect(send(0x53, 0xffffffff, true)).toEqual([0, 300, 301, 0x10001]);
    expect(apics[1].readMsr(x2apicMsr(ApicRegister.LogicalDestination))).toBe((18 << 16) | (1 << 12));
  });

  it("carries mode, vector and trigger of a message as the command register says", () => {
    const sent: ApicMessage[] = [];
    const apic = new LocalApic({ apicId: 7, bus: { deliver: (_from, message) => sent.push({ ...message }) } });
    apic.write(ApicRegister.InterruptCommandHigh, 0x12000000);
    const low = apicCommand({ mode: "lowest-priority", vector: 0x81, logical: true }) | (1 << 15);
    apic.write(ApicRegister.InterruptCommandLow, low);
    expect(sent).toEqual([
      { mode: "lowest-priority", vector: 0x81, destination: 0x12, shorthand: 0, logical: true, levelTriggered: true },
    ]);
    expect(apic.read(ApicRegister.InterruptCommandLow)).toBe(low);
  });
});

describe("LocalApic errors", () => {
  it("notes illegal vectors and registers, and shows them after a write to the error status", () => {
    const { apics } = connected([0, 1]);
    apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector: 15, shorthand: 2 }));
    apics[0].acceptFixed(3);
    expect(apics[0].read(0x10)).toBe(0);
    expect(apics[0].read(ApicRegister.ErrorStatus)).toBe(0);
    apics[0].write(ApicRegister.ErrorStatus, 0);
    expect(apics[0].read(ApicRegister.ErrorStatus)).toBe((1 << 5) | (1 << 6) | (1 << 7));
    apics[0].write(ApicRegister.ErrorStatus, 0);
    expect(apics[0].read(ApicRegister.ErrorStatus)).toBe(0);
    apics[1].write(ApicRegister.ErrorStatus, 0);
    expect(apics[1].read(ApicRegister.ErrorStatus)).toBe(0);
  });

  it("raises the error vector where it is legal and not masked", () => {
    const apic = enabledApic();
    apic.write(ApicRegister.LvtError, 0xfe);
    apic.write(ApicRegister.Version, 0);
    expect(apic.acknowledge()).toBe(-1);
    apic.write(0x10, 0);
    expect(apic.acknowledge()).toBe(0xfe);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    apic.write(ApicRegister.LvtError, 0x02);
    apic.acceptFixed(3);
    expect(apic.acknowledge()).toBe(-1);
  });

  it("raises the error vector once for an error until the error status is written", () => {
    const seen: number[] = [];
    const apic = enabledApic({ observer: { onError: (_apic, bits) => seen.push(bits) } });
    const taken = (): number => {
      const vector = apic.acknowledge();
      apic.write(ApicRegister.EndOfInterrupt, 0);
      return vector;
    };
    apic.write(ApicRegister.LvtError, 0xfe);
    apic.read(0x10);
    expect(taken()).toBe(0xfe);
    apic.read(0x10);
    expect(taken()).toBe(-1);
    apic.acceptFixed(3);
    expect(taken()).toBe(0xfe);
    apic.write(ApicRegister.ErrorStatus, 0);
    apic.read(0x10);
    expect(taken()).toBe(0xfe);
    expect(seen).toEqual([1 << 7, (1 << 7) | (1 << 6), 1 << 7]);
  });

  it("reports lowest-priority interrupts as redirectable where it cannot send them, whatever the vector", () => {
    const sent: ApicMessage[] = [];
    const bus = { deliver: (_from: number, message: ApicMessage) => sent.push({ ...message }) };
    const apic = new LocalApic({ apicId: 0, bus, lowestPriorityIpis: false });
    apic.write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "lowest-priority", vector: 3 }));
    apic.write(ApicRegister.ErrorStatus, 0);
    expect(apic.read(ApicRegister.ErrorStatus)).toBe(1 << 4);
    apic.write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector: 0x40 }));
    expect(sent.length).toBe(1);
  });

  it("reports an illegal vector to itself as sent and received", () => {
    const apic = enabledApic();
    apic.write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector: 9, shorthand: 1 }));
    apic.write(ApicRegister.ErrorStatus, 0);
    expect(apic.read(ApicRegister.ErrorStatus)).toBe((1 << 5) | (1 << 6));
  });

  it("changes no register by writes to offsets without one, and none beyond its writable bits", () => {
    const apic = enabledApic();
    const snapshot = (): number[] => Array.from({ length: 0x40 }, (_, index) => apic.read(index * 16));
    const before = snapshot();
    for (const offset of [
      0,
      0x10,
      ApicRegister.Id,
      ApicRegister.Version,
      ApicRegister.InService,
      0x3f0,
      0x400,
      1.5,
      -16,
    ]) {
      apic.write(offset, 0xffffffff);
    }
    expect(snapshot()).toEqual(before);
    apic.write(ApicRegister.LvtLint0, 0xffffffff);
    expect(apic.read(ApicRegister.LvtLint0)).toBe(0x1a7ff);
  });

  it("refuses ids and frequencies that cannot be", () => {
    const invalid = expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" });
    for (const apicId of [-1, 255, 256, 1.5]) expect(() => new LocalApic({ apicId, bus: NO_BUS })).toThrow(invalid);
    expect(() => new LocalApic({ apicId: 0xffffffff, bus: NO_BUS, x2apic: true })).toThrow(invalid);
    expect(() => new LocalApic({ apicId: 0, bus: NO_BUS, timerHz: 0 })).toThrow(invalid);
    expect(() => enabledApic().raiseLocal(ApicRegister.TaskPriority)).toThrow(invalid);
  });
});

describe("LocalApic timer and local vectors", () => {
  const timed = (lvt: number) => {
    const hal = new SeveralCpus(1);
    const deadlines: number[] = [];
    const observer: ApicObserver = { onTimer: (_apic, deadlineNs) => deadlines.push(deadlineNs) };
    // 100 MHz divided by 1: a tick is 10 ns.
    const apic = new LocalApic({ apicId: 0, bus: NO_BUS, hal, timerHz: 100e6, observer });
    apic.write(ApicRegister.SpuriousVector, ENABLE);
    apic.write(ApicRegister.DivideConfiguration, 0b1011);
    apic.write(ApicRegister.LvtTimer, lvt);
    deadlines.length = 0;
    return { hal, apic, deadlines };
  };
  const PERIODIC = 1 << 17;

  it("counts down once and interrupts once", () => {
    const { hal, apic, deadlines } = timed(0x40);
    hal.timeNs = 5;
    apic.write(ApicRegister.InitialCount, 100);
    expect(apic.timerDeadlineNs).toBe(1005);
    hal.timeNs = 405;
    expect(apic.read(ApicRegister.CurrentCount)).toBe(60);
    expect(apic.pollTimer()).toBe(false);
    hal.timeNs = 1005;
    expect(apic.pollTimer()).toBe(true);
    expect(apic.acknowledge()).toBe(0x40);
    expect(apic.read(ApicRegister.CurrentCount)).toBe(0);
    expect(apic.timerDeadlineNs).toBe(Infinity);
    expect(apic.pollTimer()).toBe(false);
    expect(deadlines).toEqual([1005, Infinity]);
  });

  it("interrupts every period without drifting, and once for periods that were missed", () => {
    const { hal, apic } = timed(0x41 | PERIODIC);
    apic.write(ApicRegister.InitialCount, 10);
    const due: number[] = [];
    for (hal.timeNs = 0; hal.timeNs <= 350; hal.timeNs += 7) if (apic.pollTimer()) due.push(apic.timerDeadlineNs);
    expect(due).toEqual([200, 300, 400]);
    hal.timeNs = 1250;
    expect(apic.read(ApicRegister.CurrentCount)).toBe(5);
    expect(apic.pollTimer()).toBe(true);
    expect(apic.pollTimer()).toBe(false);
    expect(apic.timerDeadlineNs).toBe(1300);
  });

  it("stops when the initial count becomes 0", () => {
    const { hal, apic } = timed(0x40);
    apic.write(ApicRegister.InitialCount, 10);
    apic.write(ApicRegister.InitialCount, 0);
    hal.timeNs = 1e9;
    expect(apic.pollTimer()).toBe(false);
    expect(apic.timerDeadlineNs).toBe(Infinity);
  });

  it.each([
    [0b0000, 2],
    [0b0001, 4],
    [0b0010, 8],
    [0b0011, 16],
    [0b1000, 32],
    [0b1001, 64],
    [0b1010, 128],
    [0b1011, 1],
  ])("divides its frequency as configuration %i says: by %i", (configuration, divisor) => {
    const { apic } = timed(0x40);
    apic.write(ApicRegister.DivideConfiguration, configuration);
    apic.write(ApicRegister.InitialCount, 100);
    expect(apic.timerDeadlineNs).toBe(1000 * divisor);
  });

  it("goes on from its count when the divisor changes on the way", () => {
    const { hal, apic } = timed(0x40);
    apic.write(ApicRegister.InitialCount, 100);
    hal.timeNs = 500;
    apic.write(ApicRegister.DivideConfiguration, 0b0000);
    expect(apic.read(ApicRegister.CurrentCount)).toBe(50);
    expect(apic.timerDeadlineNs).toBe(1500);
  });

  it("runs masked without interrupting", () => {
    const { hal, apic } = timed(0x10040);
    apic.write(ApicRegister.InitialCount, 1);
    hal.timeNs = 10;
    expect(apic.pollTimer()).toBe(true);
    expect(apic.acknowledge()).toBe(-1);
  });

  it("delivers local sources by their vector's mode", () => {
    let nmis = 0;
    const apic = enabledApic({ core: { nmi: () => nmis++ } });
    expect(apic.raiseLocal(ApicRegister.LvtPerformance)).toBe(false);
    apic.write(ApicRegister.LvtPerformance, 0x400);
    expect(apic.raiseLocal(ApicRegister.LvtPerformance)).toBe(true);
    expect(nmis).toBe(1);
    apic.write(ApicRegister.LvtLint0, 0x8070);
    expect(apic.raiseLocal(ApicRegister.LvtLint0)).toBe(true);
    expect(bit(apic, ApicRegister.TriggerMode, 0x70)).toBe(true);
    apic.write(ApicRegister.LvtLint1, 0x300);
    expect(apic.raiseLocal(ApicRegister.LvtLint1)).toBe(false);
  });

  it("stands still after INIT", () => {
    const { apic } = timed(0x40);
    apic.write(ApicRegister.InitialCount, 10);
    const init = {
      mode: "init",
      vector: 0,
      destination: 0,
      shorthand: 0,
      logical: false,
      levelTriggered: false,
    } as const;
    apic.receive(init);
    expect(apic.timerDeadlineNs).toBe(Infinity);
  });
});
