import { describe, expect, it } from "vitest";
import { ApicMsr, ApicRegister, LocalApic, soloHal, type ApicCore, type LocalApicOptions } from "../../src/index.ts";
import { SeveralCpus } from "../several-cpus.ts";

/* Intel SDM volume 3A, sections 10.5.1 (local vectors, pins), 10.4.3, 10.4.7 (states), 10.5.4.1 (TSC-deadline). */
const LEVEL = 1 << 15;
const LOW = 1 << 13;
const MASK = 1 << 16;
const REMOTE_IRR = 1 << 14;
const EXT_INT = 0x700;

function withCore(options: Partial<LocalApicOptions> = {}) {
  const told: string[] = [];
  const core: ApicCore = {
    init: () => void told.push("init"),
    nmi: () => void told.push("nmi"),
    smi: () => void told.push("smi"),
    extInt: () => void told.push("ext-int"),
  };
  const apic = new LocalApic({ apicId: 0, bus: { deliver: () => undefined }, core, ...options });
  apic.write(ApicRegister.SpuriousVector, 0x1ff);
  return { apic, told };
}

const taken = (apic: LocalApic): number => {
  const vector = apic.acknowledge();
  if (vector >= 0) apic.write(ApicRegister.EndOfInterrupt, 0);
  return vector;
};

describe("local vectors", () => {
  it("are seven, at the offsets of the manual, masked at first", () => {
    const { apic } = withCore();
    const offsets = [0x2f0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370];
    expect(offsets.map((offset) => apic.read(offset))).toEqual(offsets.map(() => MASK));
    expect(((apic.read(ApicRegister.Version) >>> 16) & 0xff) + 1).toBe(offsets.length);
  });

  it("deliver as NMI, SMI, INIT, external and fixed interrupts", () => {
    const { apic, told } = withCore();
    for (const mode of [0x400, 0x200, 0x700]) {
      apic.write(ApicRegister.LvtLint1, mode);
      apic.raiseLocal(ApicRegister.LvtLint1);
    }
    apic.write(ApicRegister.LvtCmci, 0x71);
    expect(apic.raiseLocal(ApicRegister.LvtCmci)).toBe(true);
    expect(taken(apic)).toBe(0x71);
    apic.write(ApicRegister.LvtThermal, 0x500);
    expect(apic.raiseLocal(ApicRegister.LvtThermal)).toBe(true);
    expect(told).toEqual(["nmi", "smi", "ext-int", "init"]);
  });

  it("do not deliver in modes that are for messages between processors", () => {
    const { apic } = withCore();
    for (const mode of [0x100, 0x300, 0x600]) {
      apic.write(ApicRegister.LvtLint0, mode | 0x40);
      expect(apic.raiseLocal(ApicRegister.LvtLint0)).toBe(false);
    }
  });

  it("mask a performance counter's interrupt when it is delivered", () => {
    const { apic } = withCore();
    apic.write(ApicRegister.LvtPerformance, 0x47);
    expect(apic.raiseLocal(ApicRegister.LvtPerformance)).toBe(true);
    expect(apic.read(ApicRegister.LvtPerformance)).toBe(0x47 | MASK);
    expect(apic.raiseLocal(ApicRegister.LvtPerformance)).toBe(false);
  });
});

describe("the pins LINT0 and LINT1", () => {
  it("interrupt at a rising edge, and lose one that comes while they are masked", () => {
    const { apic } = withCore();
    apic.write(ApicRegister.LvtLint0, 0x45);
    apic.setPin(0, true);
    apic.setPin(0, true);
    expect([taken(apic), taken(apic)]).toEqual([0x45, -1]);
    apic.setPin(0, false);
    apic.write(ApicRegister.LvtLint0, 0x45 | MASK);
    apic.setPin(0, true);
    apic.write(ApicRegister.LvtLint0, 0x45);
    expect(taken(apic)).toBe(-1);
  });

  it("interrupt at the other edge where their polarity is low", () => {
    const { apic } = withCore();
    apic.setPin(1, true);
    apic.write(ApicRegister.LvtLint1, 0x46 | LOW);
    apic.setPin(1, false);
    expect(taken(apic)).toBe(0x46);
    apic.setPin(1, true);
    expect(taken(apic)).toBe(-1);
  });

  it("interrupt again after the end while a level stays, and show the remote IRR meanwhile", () => {
    const { apic } = withCore();
    apic.write(ApicRegister.LvtLint0, 0x47 | LEVEL);
    apic.setPin(0, true);
    expect(apic.read(ApicRegister.LvtLint0)).toBe(0x47 | LEVEL | REMOTE_IRR);
    expect([taken(apic), taken(apic)]).toEqual([0x47, 0x47]);
    apic.setPin(0, false);
    expect([taken(apic), taken(apic)]).toEqual([0x47, -1]);
    expect(apic.read(ApicRegister.LvtLint0)).toBe(0x47 | LEVEL);
  });

  it("serve a level that waited for the mask to go", () => {
    const { apic } = withCore();
    apic.write(ApicRegister.LvtLint0, 0x48 | LEVEL | MASK);
    apic.setPin(0, true);
    expect(taken(apic)).toBe(-1);
    apic.write(ApicRegister.LvtLint0, 0x48 | LEVEL);
    expect(taken(apic)).toBe(0x48);
  });

  it("know no levels on LINT1", () => {
    const { apic } = withCore();
    apic.write(ApicRegister.LvtLint1, 0x49 | LEVEL);
    apic.setPin(1, true);
    expect([taken(apic), taken(apic)]).toEqual([0x49, -1]);
  });

  it("are INTR and NMI of the processor while the APIC is switched off", () => {
    const { apic, told } = withCore();
    apic.writeMsr(ApicMsr.Base, 0xfee00000);
    apic.setPin(0, true);
    apic.setPin(1, true);
    apic.setPin(1, true);
    expect(told).toEqual(["ext-int", "nmi"]);
  });

  it("bring an 8259's interrupts through in virtual wire mode", () => {
    const { apic, told } = withCore();
    apic.write(ApicRegister.LvtLint0, EXT_INT);
    apic.setPin(0, true);
    expect(told).toEqual(["ext-int"]);
    expect(apic.acknowledge()).toBe(-1);
  });
});

describe("the timer's TSC-deadline mode", () => {
  const TSC_DEADLINE = 2 << 17;
  const fault = expect.objectContaining({ code: "SMP_GENERAL_PROTECTION" });

  function timed(lvt = TSC_DEADLINE | 0xec) {
    const hal = new SeveralCpus(1);
    const { apic } = withCore({ hal, timerHz: 100e6, tscHz: 2.5e9 });
    apic.write(ApicRegister.LvtTimer, lvt);
    return { hal, apic };
  }

  it("interrupts when the counter reaches the deadline, once, and clears it", () => {
    const { hal, apic } = timed();
    apic.writeMsr(ApicMsr.TscDeadline, 2500);
    expect(apic.timerDeadlineNs).toBe(1000);
    hal.timeNs = 999;
    expect(apic.pollTimer()).toBe(false);
    expect(apic.readMsr(ApicMsr.TscDeadline)).toBe(2500);
    hal.timeNs = 1000;
    expect(apic.pollTimer()).toBe(true);
    expect(taken(apic)).toBe(0xec);
    expect([apic.readMsr(ApicMsr.TscDeadline), apic.readMsrHigh(ApicMsr.TscDeadline)]).toEqual([0, 0]);
    expect(apic.timerDeadlineNs).toBe(Infinity);
  });

  it("takes 64 bits, interrupts at once for the past, and is disarmed by 0", () => {
    const { hal, apic } = timed();
    apic.writeMsr(ApicMsr.TscDeadline, 0x80000000, 0x10);
    expect([apic.readMsr(ApicMsr.TscDeadline), apic.readMsrHigh(ApicMsr.TscDeadline)]).toEqual([0x80000000, 0x10]);
    apic.writeMsr(ApicMsr.TscDeadline, 0);
    expect(apic.timerDeadlineNs).toBe(Infinity);
    hal.timeNs = 1e6;
    apic.writeMsr(ApicMsr.TscDeadline, 1);
    expect(apic.pollTimer()).toBe(true);
  });

  it("ignores the initial count, and the other modes ignore the deadline", () => {
    const { apic } = timed();
    apic.write(ApicRegister.InitialCount, 100);
    expect(apic.timerDeadlineNs).toBe(Infinity);
    expect(apic.read(ApicRegister.CurrentCount)).toBe(0);
    apic.write(ApicRegister.LvtTimer, 0xec);
    apic.writeMsr(ApicMsr.TscDeadline, 2500);
    expect(apic.readMsr(ApicMsr.TscDeadline)).toBe(0);
    expect(apic.timerDeadlineNs).toBe(Infinity);
  });

  it("is disarmed by a change of mode into it and out of it, but not between one-shot and periodic", () => {
    const { hal, apic } = timed(0xec);
    apic.write(ApicRegister.DivideConfiguration, 0b1011);
    apic.write(ApicRegister.InitialCount, 100);
    hal.timeNs = 400;
    apic.write(ApicRegister.LvtTimer, (1 << 17) | 0xec);
    expect(apic.read(ApicRegister.CurrentCount)).toBe(60);
    apic.write(ApicRegister.LvtTimer, TSC_DEADLINE | 0xec);
    expect(apic.timerDeadlineNs).toBe(Infinity);
    apic.writeMsr(ApicMsr.TscDeadline, 2500);
    apic.write(ApicRegister.LvtTimer, 0xec);
    expect([apic.timerDeadlineNs, apic.readMsr(ApicMsr.TscDeadline)]).toEqual([Infinity, 0]);
  });

  it("does not exist without a counter: its register faults and its mode's bit is not there", () => {
    const { apic } = withCore({ hal: soloHal() });
    expect(() => apic.readMsr(ApicMsr.TscDeadline)).toThrow(fault);
    expect(() => apic.writeMsr(ApicMsr.TscDeadline, 1)).toThrow(fault);
    apic.write(ApicRegister.LvtTimer, TSC_DEADLINE | 0xec);
    expect(apic.read(ApicRegister.LvtTimer)).toBe(0xec);
  });

  it("stays at 0 when a one-shot timer that has run out becomes periodic", () => {
    const { hal, apic } = timed(0xec);
    apic.write(ApicRegister.InitialCount, 10);
    hal.timeNs = 1e6;
    expect(apic.pollTimer()).toBe(true);
    apic.write(ApicRegister.LvtTimer, (1 << 17) | 0xec);
    expect(apic.read(ApicRegister.CurrentCount)).toBe(0);
    expect(apic.read(ApicRegister.InitialCount)).toBe(10);
    expect(apic.timerDeadlineNs).toBe(Infinity);
  });
});
