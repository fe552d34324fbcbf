import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ApicFabric,
  ApicRegister,
  IoApic,
  IoApicRegister,
  LocalApic,
  redirectionEntry,
  type ApicMessage,
  type IoApicOptions,
} from "../../src/index.ts";

/* Intel 82093AA data sheet (order number 290566), sections 3.1 and 3.2. */
const MASKED = 1 << 16;
const REMOTE_IRR = 1 << 14;
const LEVEL = 1 << 15;

function alone(options: Partial<IoApicOptions> = {}) {
  const sent: ApicMessage[] = [];
  const ioApic = new IoApic({ bus: { deliver: (_from, message) => void sent.push({ ...message }) }, ...options });
  const vectors = (): number[] => sent.splice(0).map(({ vector }) => vector);
  return { ioApic, sent, vectors };
}

function write(ioApic: IoApic, register: number, value: number): void {
  ioApic.write(IoApicRegister.Select, register);
  ioApic.write(IoApicRegister.Window, value);
}

function read(ioApic: IoApic, register: number): number {
  ioApic.write(IoApicRegister.Select, register);
  return ioApic.read(IoApicRegister.Window);
}

const low = (pin: number): number => IoApicRegister.Redirection + pin * 2;
const high = (pin: number): number => low(pin) + 1;

/** An I/O APIC on a fabric with one local APIC. */
function together(options: Partial<IoApicOptions> = {}) {
  const fabric = new ApicFabric();
  const ioApic = new IoApic({ bus: fabric, ...options });
  const apic = new LocalApic({ apicId: 0, bus: fabric });
  fabric.connect(apic);
  fabric.connectIoApic(ioApic);
  apic.write(ApicRegister.SpuriousVector, 0x1ff);
  return { ioApic, apic };
}

describe("IoApic registers", () => {
  it("are id, version, arbitration id and two words for each pin, behind an index and a window", () => {
    const { ioApic } = alone({ id: 8 });
    expect(read(ioApic, IoApicRegister.Id)).toBe(8 << 24);
    expect(read(ioApic, IoApicRegister.Version)).toBe(0x00170020);
    expect(read(ioApic, IoApicRegister.Arbitration)).toBe(8 << 24);
    expect(ioApic.read(IoApicRegister.Select)).toBe(IoApicRegister.Arbitration);
    for (let pin = 0; pin < 24; pin++) expect([read(ioApic, low(pin)), read(ioApic, high(pin))]).toEqual([MASKED, 0]);
    expect(read(ioApic, low(24))).toBe(0);
    expect(ioApic.read(0x20)).toBe(0);
  });

  it("take an id of four bits, which becomes the arbitration id", () => {
    const { ioApic } = alone();
    write(ioApic, IoApicRegister.Id, 0xffffffff);
    expect(read(ioApic, IoApicRegister.Id)).toBe(0x0f000000);
    expect(read(ioApic, IoApicRegister.Arbitration)).toBe(0x0f000000);
  });

  it("cannot be written where they are read-only", () => {
    const { ioApic } = alone({ id: 1, pins: 8 });
    for (const register of [IoApicRegister.Version, IoApicRegister.Arbitration, 3, 0xf, low(8), 0xff]) {
      write(ioApic, register, 0xffffffff);
    }
    expect(read(ioApic, IoApicRegister.Version)).toBe(0x00070020);
    expect(read(ioApic, IoApicRegister.Arbitration)).toBe(1 << 24);
    write(ioApic, low(3), 0xffffffff);
    write(ioApic, high(3), 0xffffffff);
    expect(read(ioApic, low(3))).toBe(0x1afff);
    expect(read(ioApic, high(3))).toBe(0xff000000);
    expect(read(ioApic, low(2))).toBe(MASKED);
  });

  it("refuse sizes and pins that cannot be", () => {
    const invalid = expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" });
    for (const options of [{ pins: 0 }, { pins: 241 }, { id: 16 }, { id: 1.5 }, { version: 256 }]) {
      expect(() => alone(options)).toThrow(invalid);
    }
    for (const pin of [-1, 24, 0.5]) expect(() => alone().ioApic.setPin(pin, true)).toThrow(invalid);
  });
});

describe("IoApic pins", () => {
  it("send at a rising edge what the entry says", () => {
    const { ioApic, sent } = alone();
    write(ioApic, high(4), 0x21 << 24);
    write(ioApic, low(4), redirectionEntry({ vector: 0x34, mode: "lowest-priority", logical: true }));
    ioApic.setPin(4, true);
    ioApic.setPin(4, true);
    ioApic.setPin(4, false);
    expect(sent).toEqual([
      { mode: "lowest-priority", vector: 0x34, destination: 0x21, shorthand: 0, logical: true, levelTriggered: false },
    ]);
  });

  it("lose an edge that comes while they are masked", () => {
    const { ioApic, vectors } = alone();
    write(ioApic, low(4), redirectionEntry({ vector: 0x34, masked: true }));
    ioApic.setPin(4, true);
    write(ioApic, low(4), redirectionEntry({ vector: 0x34 }));
    expect(vectors()).toEqual([]);
    ioApic.setPin(4, false);
    ioApic.setPin(4, true);
    expect(vectors()).toEqual([0x34]);
  });

  it("are active when low where the polarity says so", () => {
    const { ioApic, vectors } = alone();
    ioApic.setPin(9, true);
    write(ioApic, low(9), redirectionEntry({ vector: 0x39, activeLow: true }));
    expect(vectors()).toEqual([]);
    ioApic.setPin(9, false);
    expect(vectors()).toEqual([0x39]);
  });

  it("send a level once until it has ended, and again while it stays", () => {
    const { ioApic, apic } = together();
    write(ioApic, low(9), redirectionEntry({ vector: 0x39, level: true }));
    ioApic.setPin(9, true);
    expect(read(ioApic, low(9)) & REMOTE_IRR).toBe(REMOTE_IRR);
    expect(apic.acknowledge()).toBe(0x39);
    ioApic.setPin(9, false);
    ioApic.setPin(9, true);
    expect(apic.hasDeliverable()).toBe(false);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    expect(apic.acknowledge()).toBe(0x39);
    ioApic.setPin(9, false);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    expect(apic.acknowledge()).toBe(-1);
    expect(read(ioApic, low(9))).toBe(0x39 | LEVEL);
  });

  it("send a level that waited for the mask to go", () => {
    const { ioApic, vectors } = alone();
    write(ioApic, low(9), redirectionEntry({ vector: 0x39, level: true, masked: true }));
    ioApic.setPin(9, true);
    expect(vectors()).toEqual([]);
    write(ioApic, low(9), redirectionEntry({ vector: 0x39, level: true }));
    expect(vectors()).toEqual([0x39]);
  });

  it("are ended one by one by their own register where the broadcast is suppressed, from version 0x20 on", () => {
    for (const version of [0x20, 0x11]) {
      const { ioApic, apic } = together({ version });
      apic.write(ApicRegister.SpuriousVector, 0x11ff);
      write(ioApic, low(9), redirectionEntry({ vector: 0x39, level: true }));
      ioApic.setPin(9, true);
      expect(apic.acknowledge()).toBe(0x39);
      apic.write(ApicRegister.EndOfInterrupt, 0);
      expect(apic.acknowledge()).toBe(-1);
      ioApic.write(IoApicRegister.EndOfInterrupt, 0x38);
      expect(apic.acknowledge()).toBe(-1);
      ioApic.write(IoApicRegister.EndOfInterrupt, 0x39);
      expect(apic.acknowledge()).toBe(version === 0x20 ? 0x39 : -1);
      if (version === 0x20) continue;
      // The way around the missing register: edge-triggered and masked for a moment.
      write(ioApic, low(9), redirectionEntry({ vector: 0x39, masked: true }));
      write(ioApic, low(9), redirectionEntry({ vector: 0x39, level: true }));
      expect(apic.acknowledge()).toBe(0x39);
    }
  });

  it("share a vector: its end lets both send again", () => {
    const { ioApic, vectors } = alone();
    for (const pin of [16, 17]) {
      write(ioApic, low(pin), redirectionEntry({ vector: 0x50, level: true }));
      ioApic.setPin(pin, true);
    }
    expect(vectors()).toEqual([0x50, 0x50]);
    ioApic.setPin(16, false);
    ioApic.endOfInterrupt(0x50);
    expect(vectors()).toEqual([0x50]);
  });

  it("treat NMI, SMI, INIT and external interrupts as edges, and reserved modes as nothing", () => {
    const { ioApic, sent } = alone();
    for (const mode of ["nmi", "smi", "init", "ext-int"] as const) {
      write(ioApic, low(1), redirectionEntry({ vector: 0, mode, level: true }));
      ioApic.setPin(1, true);
      ioApic.setPin(1, false);
    }
    expect(sent.map(({ mode, levelTriggered }) => [mode, levelTriggered])).toEqual([
      ["nmi", false],
      ["smi", false],
      ["init", false],
      ["ext-int", false],
    ]);
    expect(read(ioApic, low(1)) & REMOTE_IRR).toBe(0);
    for (const mode of [3, 6]) {
      write(ioApic, low(1), mode << 8);
      ioApic.setPin(1, true);
      ioApic.setPin(1, false);
    }
    expect(sent.length).toBe(4);
  });

  it("name destinations of 15 bits with extended destinations, and everybody with 255", () => {
    const { ioApic, sent } = alone({ extendedDestinations: true });
    for (const word of [0x2c_02_0000, 0xff_00_0000]) {
      write(ioApic, high(2), word);
      write(ioApic, low(2), 0x30);
      ioApic.setPin(2, true);
      ioApic.setPin(2, false);
    }
    expect(sent.map(({ destination }) => destination)).toEqual([300, 0xffffffff]);
  });

  it("leave illegal vectors to the local APIC, which notes them", () => {
    const { ioApic, apic } = together();
    write(ioApic, low(3), 0x05);
    ioApic.setPin(3, true);
    apic.write(ApicRegister.ErrorStatus, 0);
    expect(apic.read(ApicRegister.ErrorStatus)).toBe(1 << 6);
  });

  it("agree with a plain model: no level is forgotten or served twice, edges count when they come", () => {
    const PINS = 3;
    const pin = fc.integer({ min: 0, max: PINS - 1 });
    const step = fc.oneof(
      fc.record({ do: fc.constant("pin" as const), pin, value: fc.nat(1) }),
      fc.record({
        do: fc.constant("entry" as const),
        pin,
        // Two vectors for three pins, so that pins share one; polarity, trigger and mask as bits.
        value: fc
          .tuple(fc.nat(1), fc.nat(7))
          .map(([v, bits]) => (0x40 + v) | ((bits & 1) << 13) | ((bits & 2) << 14) | ((bits & 4) << 14)),
      }),
      fc.record({ do: fc.constant("end" as const), pin, value: fc.integer({ min: 0x40, max: 0x41 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { ioApic, vectors } = alone({ pins: PINS });
        const plain = Array.from({ length: PINS }, () => ({ entry: MASKED, high: false, waits: false }));
        for (const { do: what, pin: at, value } of steps) {
          const expected: number[] = [];
          const has = (p: (typeof plain)[number], bit: number): boolean => (p.entry & bit) !== 0;
          const asserted = (p: (typeof plain)[number]): boolean => p.high !== has(p, 1 << 13);
          const level = (p: (typeof plain)[number]): void => {
            if (!has(p, LEVEL) || has(p, MASKED) || p.waits || !asserted(p)) return;
            p.waits = true;
            expected.push(p.entry & 0xff);
          };
          if (what === "pin") {
            const p = plain[at];
            const before = asserted(p);
            p.high = value === 1;
            if (!has(p, LEVEL) && !has(p, MASKED) && asserted(p) && !before) expected.push(p.entry & 0xff);
            level(p);
            ioApic.setPin(at, value === 1);
          } else if (what === "entry") {
            plain[at].entry = value;
            if (!has(plain[at], LEVEL)) plain[at].waits = false;
            level(plain[at]);
            write(ioApic, low(at), value);
          } else {
            for (const p of plain) {
              if (!p.waits || (p.entry & 0xff) !== value) continue;
              p.waits = false;
              level(p);
            }
            ioApic.endOfInterrupt(value);
          }
          expect(vectors()).toEqual(expected);
          plain.forEach((p, n) => expect(read(ioApic, low(n))).toBe(p.entry | (p.waits ? REMOTE_IRR : 0)));
        }
      }),
    );
  });
});
