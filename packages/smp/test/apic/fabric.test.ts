import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ApicFabric,
  ApicRegister,
  LocalApic,
  apicCommand,
  msiAddress,
  msiData,
  x2apicMsr,
  type ApicCore,
} from "../../src/index.ts";

/* Intel SDM volume 3A, sections 10.6.2 (destinations, arbitration), 10.11 (message-signalled), 10.12.10 (x2APIC). */
const ICR = x2apicMsr(ApicRegister.InterruptCommandLow);

function machine(ids: readonly number[], options: { x2apic?: boolean; extendedDestinations?: boolean } = {}) {
  const told: [number, string][] = [];
  const fabric = new ApicFabric(options);
  const apics = ids.map((apicId) => {
    const core: ApicCore = {
      nmi: () => void told.push([apicId, "nmi"]),
      smi: () => void told.push([apicId, "smi"]),
      init: () => void told.push([apicId, "init"]),
      extInt: () => void told.push([apicId, "ext-int"]),
    };
    const apic = new LocalApic({ apicId, bus: fabric, core, x2apic: options.x2apic });
    if (apic.x2apic) apic.writeMsr(0x80f, 0x1ff);
    else apic.write(ApicRegister.SpuriousVector, 0x1ff);
    fabric.connect(apic);
    return apic;
  });
  /** Ids of those that have `vector` requested and take it now. */
  const takers = (vector: number): number[] =>
    apics.filter((apic) => apic.acknowledge() === vector).map((apic) => (end(apic), apic.apicId));
  return { fabric, apics, told, takers };
}

function end(apic: LocalApic): void {
  if (apic.x2apic) apic.writeMsr(0x80b, 0);
  else apic.write(ApicRegister.EndOfInterrupt, 0);
}

describe("ApicFabric", () => {
  it("brings a physical message to one, to everybody, and to nobody", () => {
    const { fabric, takers } = machine([0, 2, 5]);
    const message = { mode: "fixed", vector: 0x40, shorthand: 0, logical: false, levelTriggered: false } as const;
    expect(fabric.deliver(0, { ...message, destination: 5 })).toBe(1);
    expect(takers(0x40)).toEqual([5]);
    expect(fabric.deliver(0, { ...message, destination: 0xffffffff })).toBe(3);
    expect(takers(0x40)).toEqual([0, 2, 5]);
    expect(fabric.deliver(0, { ...message, destination: 7 })).toBe(0);
  });

  it("refuses two APICs of one id", () => {
    const { fabric } = machine([0, 1]);
    expect(() => fabric.connect(new LocalApic({ apicId: 1, bus: fabric }))).toThrow(
      expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" }),
    );
  });

  it("takes turns among equals for lowest priority, and prefers who does less", () => {
    const { fabric, apics, takers } = machine([0, 1, 2]);
    const message = {
      mode: "lowest-priority",
      vector: 0x40,
      shorthand: 2,
      logical: false,
      levelTriggered: false,
    } as const;
    const winner = (): number[] => {
      fabric.deliver(0, { ...message, destination: 0 });
      return takers(0x40);
    };
    expect([winner(), winner(), winner(), winner()]).toEqual([[0], [1], [2], [0]]);
    apics[1].write(ApicRegister.TaskPriority, 0x20);
    apics[2].acceptFixed(0x31);
    expect([winner(), winner()]).toEqual([[0], [0]]);
    apics[0].write(ApicRegister.SpuriousVector, 0xff);
    apics[2].acceptFixed(0x51);
    expect(winner()).toEqual([1]);
  });

  it("gives a lowest-priority message to nobody where all that are addressed are disabled", () => {
    const { fabric, apics } = machine([0, 1]);
    for (const apic of apics) apic.write(ApicRegister.SpuriousVector, 0xff);
    const message = {
      mode: "lowest-priority",
      vector: 0x40,
      shorthand: 2,
      logical: false,
      levelTriggered: false,
    } as const;
    expect(fabric.deliver(0, { ...message, destination: 0 })).toBe(0);
  });

  it("reaches in logical mode exactly those whose logical ids match, in flat, cluster and x2APIC mode", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 0, max: 254 }),
        fc.boolean(),
        (logicalIds, destination, cluster) => {
          const { apics, takers } = machine(logicalIds.map((_, id) => id));
          apics.forEach((apic, id) => {
            apic.write(ApicRegister.LogicalDestination, logicalIds[id] << 24);
            if (cluster) apic.write(ApicRegister.DestinationFormat, 0x0fffffff);
          });
          apics[0].write(ApicRegister.InterruptCommandHigh, destination << 24);
          apics[0].write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector: 0x40, logical: true }));
          const expected = logicalIds.flatMap((ids, id) => {
            const members = cluster ? destination & ids & 0xf : destination & ids;
            const sameCluster = !cluster || destination >> 4 === ids >> 4 || destination >> 4 === 15;
            return members !== 0 && sameCluster ? [id] : [];
          });
          expect(takers(0x40)).toEqual(expected);
        },
      ),
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 0, max: 62 }),
        fc.integer({ min: 0, max: 0xffff }),
        (ids, cluster, members) => {
          const { apics, takers } = machine(ids, { x2apic: true });
          apics[0].writeMsr(
            ICR,
            apicCommand({ mode: "fixed", vector: 0x40, logical: true }),
            cluster * 65536 + members,
          );
          const expected = ids.filter(
            (id) => Math.floor(id / 16) === cluster && Math.floor(members / 2 ** (id % 16)) % 2 === 1,
          );
          expect(takers(0x40)).toEqual(expected);
        },
      ),
    );
  });

  it("carries messages later where it is told how", () => {
    const waiting: (() => void)[] = [];
    const fabric = new ApicFabric({
      carry: (apic, message) => {
        const copy = { ...message };
        waiting.push(() => apic.receive(copy));
      },
    });
    const [a, b] = [0, 1].map((apicId) => new LocalApic({ apicId, bus: fabric }));
    for (const apic of [a, b]) {
      fabric.connect(apic);
      apic.write(ApicRegister.SpuriousVector, 0x1ff);
    }
    a.write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector: 0x40, shorthand: 3 }));
    a.write(ApicRegister.InterruptCommandLow, apicCommand({ mode: "fixed", vector: 0x41, shorthand: 3 }));
    expect(b.acknowledge()).toBe(-1);
    for (const arrive of waiting) arrive();
    expect(b.acknowledge()).toBe(0x41);
  });
});

describe("message-signalled interrupts", () => {
  it("have the address and the data of the manual's figures", () => {
    expect(msiAddress({ destination: 0x12 }).toString(16)).toBe("fee12000");
    expect(msiAddress({ destination: 3, logical: true, redirect: true }).toString(16)).toBe("fee0300c");
    expect(msiAddress({ destination: 0x1234 }).toString(16)).toBe("fee34240");
    expect(msiData({ vector: 0x41 })).toBe(0x41);
    expect(msiData({ vector: 0x41, mode: "lowest-priority", level: true })).toBe(0xc141);
  });

  it("reach the APIC, in every mode that a device may use", () => {
    const { fabric, told, takers } = machine([0, 3]);
    expect(fabric.deviceWrite(msiAddress({ destination: 3 }), msiData({ vector: 0x41 }))).toBe(1);
    expect(takers(0x41)).toEqual([3]);
    for (const mode of ["smi", "nmi", "init", "ext-int"] as const) {
      fabric.deviceWrite(msiAddress({ destination: 0 }), msiData({ vector: 0, mode }));
    }
    // An INIT puts the processor to wait, which ends its attention for the rest.
    expect(told).toEqual([
      [0, "smi"],
      [0, "nmi"],
      [0, "init"],
    ]);
  });

  it("are level-triggered where the data says so, and nothing when de-asserted", () => {
    const { fabric, apics } = machine([0]);
    fabric.deviceWrite(msiAddress({ destination: 0 }), 0x8041);
    expect(apics[0].acknowledge()).toBe(-1);
    fabric.deviceWrite(msiAddress({ destination: 0 }), 0xc041);
    expect(apics[0].acknowledge()).toBe(0x41);
    expect(apics[0].read(ApicRegister.TriggerMode + 2 * 16)).toBe(2);
  });

  it("go to one of a logical group with the redirection hint, to all of it without", () => {
    const { fabric, apics, takers } = machine([0, 1, 2]);
    apics.forEach((apic, id) => apic.write(ApicRegister.LogicalDestination, (1 << id) << 24));
    const data = msiData({ vector: 0x41 });
    expect(fabric.deviceWrite(msiAddress({ destination: 6, logical: true }), data)).toBe(2);
    expect(takers(0x41)).toEqual([1, 2]);
    expect(fabric.deviceWrite(msiAddress({ destination: 6, logical: true, redirect: true }), data)).toBe(1);
    expect(takers(0x41)).toEqual([1]);
  });

  it("are plain writes elsewhere and in reserved modes", () => {
    const { fabric } = machine([0]);
    expect(fabric.deviceWrite(0xfed00000, 0x41)).toBe(0);
    expect(fabric.deviceWrite(0xfee00000, 0x341)).toBe(0);
    expect(fabric.deviceWrite(0xfee00000, 0x641)).toBe(0);
  });

  it("reach ids above 255 with extended destinations, and only with them", () => {
    for (const extendedDestinations of [true, false]) {
      const { fabric, takers } = machine([0, 44, 300, 255 + 256], { x2apic: true, extendedDestinations });
      fabric.deviceWrite(msiAddress({ destination: 300 }), msiData({ vector: 0x41 }));
      expect(takers(0x41)).toEqual([extendedDestinations ? 300 : 44]);
      expect(fabric.deviceWrite(msiAddress({ destination: 255 }), msiData({ vector: 0x41 }))).toBe(4);
      expect(takers(0x41)).toEqual([0, 44, 300, 511]);
    }
  });
});
