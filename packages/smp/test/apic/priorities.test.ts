import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApicRegister, LocalApic } from "../../src/index.ts";

/*
 * Requests, service and priorities against a second model that has nothing of the first: arrays of booleans, and the manual's
 * sentences (Intel SDM volume 3A, sections 10.6.2.4, 10.8.3.1, 10.8.4, 10.8.5) one by one.
 */
class PlainApic {
  readonly irr = Array.from({ length: 256 }, () => false);
  readonly isr = Array.from({ length: 256 }, () => false);
  readonly tmr = Array.from({ length: 256 }, () => false);
  tpr = 0;
  suppress = false;

  ppr(): number {
    const served = this.isr.lastIndexOf(true);
    const servedClass = served < 0 ? 0 : Math.floor(served / 16);
    const taskClass = Math.floor(this.tpr / 16);
    return taskClass >= servedClass ? this.tpr : servedClass * 16;
  }

  apr(): number {
    const classes = [this.irr, this.isr].map((set) => Math.floor(Math.max(set.lastIndexOf(true), 0) / 16));
    const task = Math.floor(this.tpr / 16);
    if (task >= classes[0] && task > classes[1]) return this.tpr;
    return Math.max(task, ...classes) * 16;
  }

  accept(vector: number, level: boolean): void {
    this.irr[vector] = true;
    this.tmr[vector] = level;
  }

  deliverable(): number {
    const highest = this.irr.lastIndexOf(true);
    return highest >= 0 && Math.floor(highest / 16) > Math.floor(this.ppr() / 16) ? highest : -1;
  }

  acknowledge(): number {
    const vector = this.deliverable();
    if (vector >= 0) {
      this.irr[vector] = false;
      this.isr[vector] = true;
    }
    return vector;
  }

  /** The vector whose end goes to I/O APICs, or -1. */
  end(): number {
    const vector = this.isr.lastIndexOf(true);
    if (vector < 0) return -1;
    this.isr[vector] = false;
    return this.tmr[vector] && !this.suppress ? vector : -1;
  }
}

const words = (set: boolean[]): number[] =>
  Array.from({ length: 8 }, (_, word) => {
    let value = 0;
    for (let bit = 0; bit < 32; bit++) if (set[word * 32 + bit]) value += 2 ** bit;
    return value;
  });

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("accept"), value: fc.integer({ min: 16, max: 255 }), level: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("acknowledge"), value: fc.constant(0), level: fc.constant(false) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("end"), value: fc.constant(0), level: fc.constant(false) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("task"),
      value: fc.integer({ min: 0, max: 255 }),
      level: fc.constant(false),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("suppress"), value: fc.constant(0), level: fc.boolean() }) },
);

describe("priorities of a local APIC", () => {
  it("agree with a plain model in every register after every step", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const ended: number[] = [];
        const bus = { deliver: () => undefined, endOfInterrupt: (vector: number) => void ended.push(vector) };
        const apic = new LocalApic({ apicId: 0, bus });
        apic.write(ApicRegister.SpuriousVector, 0x1ff);
        const plain = new PlainApic();
        const set = (first: number): number[] => Array.from({ length: 8 }, (_, word) => apic.read(first + word * 16));
        for (const { do: what, value, level } of steps) {
          const endedBefore = ended.length;
          let end = -1;
          if (what === "accept") {
            apic.acceptFixed(value, level);
            plain.accept(value, level);
          } else if (what === "acknowledge") expect(apic.acknowledge()).toBe(plain.acknowledge());
          else if (what === "end") {
            apic.write(ApicRegister.EndOfInterrupt, 0);
            end = plain.end();
          } else if (what === "task") apic.write(ApicRegister.TaskPriority, (plain.tpr = value));
          else {
            plain.suppress = level;
            apic.write(ApicRegister.SpuriousVector, level ? 0x11ff : 0x1ff);
          }
          expect(ended.slice(endedBefore)).toEqual(end < 0 ? [] : [end]);
          expect(apic.read(ApicRegister.ProcessorPriority)).toBe(plain.ppr());
          expect(apic.read(ApicRegister.ArbitrationPriority)).toBe(plain.apr());
          expect(apic.hasDeliverable()).toBe(plain.deliverable() >= 0);
          expect(set(ApicRegister.InterruptRequest)).toEqual(words(plain.irr));
          expect(set(ApicRegister.InService)).toEqual(words(plain.isr));
          expect(set(ApicRegister.TriggerMode)).toEqual(words(plain.tmr));
        }
      }),
    );
  });

  it("give the spurious vector where the task priority was raised meanwhile, and nothing is in service then", () => {
    const apic = new LocalApic({ apicId: 0, bus: { deliver: () => undefined } });
    apic.write(ApicRegister.SpuriousVector, 0x1ef);
    apic.acceptFixed(0x51);
    apic.write(ApicRegister.TaskPriority, 0x50);
    expect(apic.acknowledgeLine()).toBe(0xef);
    expect(apic.read(ApicRegister.ProcessorPriority)).toBe(0x50);
    apic.write(ApicRegister.TaskPriority, 0x40);
    expect(apic.acknowledgeLine()).toBe(0x51);
    expect(apic.read(ApicRegister.ProcessorPriority)).toBe(0x50);
  });

  it("keep what is requested and in service when software disables the APIC", () => {
    const apic = new LocalApic({ apicId: 0, bus: { deliver: () => undefined } });
    apic.write(ApicRegister.SpuriousVector, 0x1ff);
    apic.acceptFixed(0x51);
    apic.write(ApicRegister.SpuriousVector, 0xff);
    expect(apic.acceptFixed(0x61)).toBe(false);
    expect(apic.acknowledge()).toBe(0x51);
    apic.write(ApicRegister.EndOfInterrupt, 0);
    expect(apic.processorPriority).toBe(0);
  });
});
