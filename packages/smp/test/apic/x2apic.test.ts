import { describe, expect, it } from "vitest";
import {
  apicCommand,
  ApicMsr,
  ApicRegister,
  LocalApic,
  logicalX2ApicId,
  x2apicMsr,
  type ApicMessage,
  type LocalApicOptions,
} from "../../src/index.ts";

/*
 * Intel SDM volume 3A, sections 10.12.1 (register space, reserved bits), 10.12.5 (state transitions), 10.12.9 (ICR), 10.12.10
 * (logical ids), 10.12.11 (self IPI).
 */
const BASE = 0xfee00000;
const ENABLE = 1 << 11;
const EXTENDED = 1 << 10;
const BSP = 1 << 8;
const fault = expect.objectContaining({ code: "SMP_GENERAL_PROTECTION" });

function apicWith(options: Partial<LocalApicOptions> = {}) {
  const sent: ApicMessage[] = [];
  const bus = { deliver: (_from: number, message: ApicMessage) => void sent.push({ ...message }) };
  return { apic: new LocalApic({ apicId: 5, bus, ...options }), sent };
}

const inX2Apic = (options: Partial<LocalApicOptions> = {}): LocalApic => {
  const { apic } = apicWith(options);
  apic.writeMsr(ApicMsr.Base, BASE | ENABLE | EXTENDED);
  apic.writeMsr(0x80f, 0x1ff);
  return apic;
};

const flagsOf = { disabled: 0, xapic: ENABLE, x2apic: ENABLE | EXTENDED } as const;
const modes = ["disabled", "xapic", "x2apic"] as const;

/** An APIC in `mode`, brought there by legal steps. */
function inMode(mode: (typeof modes)[number]): LocalApic {
  const { apic } = apicWith();
  if (mode !== "xapic") apic.writeMsr(ApicMsr.Base, BASE | flagsOf[mode]);
  return apic;
}

describe("IA32_APIC_BASE", () => {
  it("begins as after power-up: enabled, in xAPIC mode, at the default address", () => {
    const { apic } = apicWith();
    expect(apic.mode).toBe("xapic");
    expect(apic.readMsr(ApicMsr.Base)).toBe(BASE + ENABLE);
    expect(apic.readMsrHigh(ApicMsr.Base)).toBe(0);
    expect(apicWith({ bootProcessor: true }).apic.readMsr(ApicMsr.Base)).toBe(BASE + ENABLE + BSP);
    expect(apicWith({ x2apic: true }).apic.readMsr(ApicMsr.Base)).toBe(BASE + ENABLE + EXTENDED);
  });

  const legal = new Set(["disabled xapic", "xapic disabled", "xapic x2apic", "x2apic disabled"]);
  it.each(modes.flatMap((from) => modes.map((to) => [from, to] as const)))(
    "goes from %s to %s or faults",
    (from, to) => {
      const apic = inMode(from);
      const change = (): void => apic.writeMsr(ApicMsr.Base, BASE | flagsOf[to]);
      if (from === to || legal.has(`${from} ${to}`)) {
        change();
        expect(apic.mode).toBe(to);
      } else {
        expect(change).toThrow(fault);
        expect(apic.mode).toBe(from);
      }
    },
  );

  it.each(modes)("faults on x2APIC mode without the APIC enabled, and on reserved bits, from %s", (mode) => {
    const apic = inMode(mode);
    const good = BASE | flagsOf[mode];
    for (const [low, high] of [
      [BASE | EXTENDED, 0],
      [good | 1, 0],
      [good | (1 << 9), 0],
      [good, 0x00100000],
    ]) {
      expect(() => apic.writeMsr(ApicMsr.Base, low, high)).toThrow(fault);
    }
    expect(apic.readMsr(ApicMsr.Base)).toBe(good >>> 0);
  });

  it("moves the page", () => {
    const { apic } = apicWith();
    apic.writeMsr(ApicMsr.Base, 0xfed40000 | ENABLE, 0x12);
    expect(apic.baseAddress).toBe(0x12fed40000);
    expect(apic.readMsrHigh(ApicMsr.Base)).toBe(0x12);
  });

  it("answers at its page in xAPIC mode only, and to x2APIC registers in x2APIC mode only", () => {
    for (const mode of modes) {
      const apic = inMode(mode);
      expect(apic.read(ApicRegister.Version)).toBe(mode === "xapic" ? 0x01060015 : 0xffffffff);
      apic.write(ApicRegister.TaskPriority, 0x30);
      if (mode === "x2apic") expect(apic.readMsr(0x808)).toBe(0);
      else {
        expect(() => apic.readMsr(0x808)).toThrow(fault);
        expect(() => apic.writeMsr(0x808, 0)).toThrow(fault);
      }
    }
  });

  it("keeps the state, but for the ids and the destination, on the way to x2APIC mode", () => {
    const { apic } = apicWith();
    apic.write(ApicRegister.SpuriousVector, 0x1ff);
    apic.write(ApicRegister.TaskPriority, 0x20);
    apic.write(ApicRegister.LvtError, 0xfe);
    apic.write(ApicRegister.LogicalDestination, 1 << 24);
    apic.write(ApicRegister.InterruptCommandHigh, 7 << 24);
    apic.acceptFixed(0x61);
    apic.writeMsr(ApicMsr.Base, BASE | ENABLE | EXTENDED);
    expect(apic.readMsr(0x802)).toBe(5);
    expect(apic.readMsr(0x80d)).toBe(1 << 5);
    expect([apic.readMsr(0x808), apic.readMsr(0x80f), apic.readMsr(0x837)]).toEqual([0x20, 0x1ff, 0xfe]);
    expect(apic.readMsrHigh(0x830)).toBe(0);
    expect(apic.acknowledge()).toBe(0x61);
  });

  it("forgets everything when it is switched off", () => {
    const apic = inX2Apic();
    apic.acceptFixed(0x61);
    apic.writeMsr(ApicMsr.Base, BASE);
    expect(apic.hasDeliverable()).toBe(false);
    expect(apic.acceptFixed(0x62)).toBe(false);
    apic.writeMsr(ApicMsr.Base, BASE | ENABLE);
    expect(apic.read(ApicRegister.SpuriousVector)).toBe(0xff);
    expect(apic.read(ApicRegister.Id)).toBe(5 << 24);
    expect(apic.read(ApicRegister.LvtLint0)).toBe(0x10000);
  });

  it("stays in x2APIC mode through INIT, and only a boot processor does not wait for a start-up", () => {
    const init = {
      mode: "init",
      vector: 0,
      destination: 0,
      shorthand: 0,
      logical: false,
      levelTriggered: false,
    } as const;
    const apic = inX2Apic();
    apic.receive(init);
    expect([apic.mode, apic.enabled, apic.waitingForStartup]).toEqual(["x2apic", false, true]);
    const boot = apicWith({ bootProcessor: true }).apic;
    boot.receive(init);
    expect(boot.waitingForStartup).toBe(false);
  });
});

describe("x2APIC registers", () => {
  /** Table 10-6: all that can be read, and all that can be written with these reserved bits. */
  const readable = [0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f, 0x828, 0x82f, 0x830]
    .concat(Array.from({ length: 24 }, (_, at) => 0x810 + at))
    .concat([0x832, 0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x839, 0x83e]);
  const writable = new Map<number, number>([
    [0x808, 0xff],
    [0x80b, 0],
    [0x80f, 0x11ff],
    [0x828, 0],
    [0x82f, 0x117ff],
    [0x830, 0xcdfff],
    [0x832, 0x710ff],
    [0x833, 0x117ff],
    [0x834, 0x117ff],
    [0x835, 0x1f7ff],
    [0x836, 0x1f7ff],
    [0x837, 0x110ff],
    [0x838, 0xffffffff],
    [0x83e, 0xb],
    [0x83f, 0xff],
  ]);

  it("can be read and written as the manual's table says, and all others of 0x800 to 0x8ff fault", () => {
    const apic = inX2Apic({ tscHz: 1e9 });
    for (let msr = 0x800; msr < 0x900; msr++) {
      if (readable.includes(msr)) expect(apic.readMsr(msr)).toBeGreaterThanOrEqual(0);
      else expect(() => apic.readMsr(msr), msr.toString(16)).toThrow(fault);
      if (!writable.has(msr)) expect(() => apic.writeMsr(msr, 0), msr.toString(16)).toThrow(fault);
    }
    for (const msr of [0x7ff, 0x900, 0x6e1, 0, -1, 2048.5]) expect(() => apic.readMsr(msr)).toThrow(fault);
  });

  it("fault on every reserved bit and change nothing then", () => {
    for (const [msr, allowed] of writable) {
      for (let bit = 0; bit < 32; bit++) {
        const apic = inX2Apic({ tscHz: 1e9 });
        const value = (1 << bit) >>> 0;
        const before = readable.includes(msr) ? apic.readMsr(msr) : 0;
        if (((allowed >>> bit) & 1) === 1) apic.writeMsr(msr, value);
        else {
          expect(() => apic.writeMsr(msr, value), `bit ${bit} of 0x${msr.toString(16)}`).toThrow(fault);
          expect(readable.includes(msr) ? apic.readMsr(msr) : 0).toBe(before);
        }
      }
    }
  });

  it("fault on the upper half, except for the command's", () => {
    const apic = inX2Apic();
    for (const msr of writable.keys()) {
      if (msr !== 0x830) expect(() => apic.writeMsr(msr, 0, 1)).toThrow(fault);
    }
    apic.writeMsr(0x830, 0x44, 0x12345678);
    expect([apic.readMsr(0x830), apic.readMsrHigh(0x830)]).toEqual([0x44, 0x12345678]);
  });

  it("do not note errors where they fault", () => {
    const apic = inX2Apic();
    expect(() => apic.readMsr(0x80e)).toThrow(fault);
    apic.writeMsr(0x828, 0);
    expect(apic.readMsr(0x828)).toBe(0);
  });

  it("send with one write of 64 bits, with 32 bits of destination", () => {
    const { apic, sent } = apicWith({ x2apic: true });
    apic.writeMsr(0x830, apicCommand({ mode: "nmi" }), 0x80000001);
    expect(sent).toEqual([
      { mode: "nmi", vector: 0, destination: 0x80000001, shorthand: 0, logical: false, levelTriggered: false },
    ]);
  });

  it("send to themselves without a message, and note vectors that cannot be", () => {
    const apic = inX2Apic();
    apic.writeMsr(0x83f, 0x52);
    expect(apic.acknowledge()).toBe(0x52);
    apic.writeMsr(0x83f, 3);
    apic.writeMsr(0x828, 0);
    expect(apic.readMsr(0x828)).toBe((1 << 5) | (1 << 6));
    expect(apic.acknowledge()).toBe(-1);
  });

  it("name registers at the offsets of the page", () => {
    expect(x2apicMsr(ApicRegister.TaskPriority)).toBe(0x808);
    expect(x2apicMsr(ApicRegister.InterruptCommandLow)).toBe(0x830);
    expect(x2apicMsr(ApicRegister.SelfIpi)).toBe(0x83f);
  });

  it("show the logical id that follows from the id", () => {
    for (const [apicId, logical] of [
      [0, 1],
      [15, 0x8000],
      [16, 0x10001],
      [300, 0x121000],
      [0xfffffffe, 0xffff4000],
    ]) {
      expect(logicalX2ApicId(apicId)).toBe(logical);
      expect(apicWith({ apicId, x2apic: true }).apic.readMsr(0x80d)).toBe(logical);
    }
  });
});
