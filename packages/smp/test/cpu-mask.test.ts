import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CpuMask, MAX_CPUS } from "../src/index.ts";

const sizes = fc.integer({ min: 1, max: 200 });
const cpuSets = sizes.chain((size) =>
  fc.record({ size: fc.constant(size), cpus: fc.uniqueArray(fc.integer({ min: 0, max: size - 1 })) }),
);
const pairs = sizes.chain((size) => {
  const cpus = fc.uniqueArray(fc.integer({ min: 0, max: size - 1 }));
  return fc.record({ size: fc.constant(size), a: cpus, b: cpus });
});
const sorted = (cpus: Iterable<number>): number[] => [...cpus].sort((a, b) => a - b);

describe("CpuMask", () => {
  it("behaves as a set of integers under any sequence of additions and deletions", () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(1000)), { maxLength: 100 });
    fc.assert(
      fc.property(sizes, steps, (size, operations) => {
        const mask = new CpuMask(size);
        const model = new Set<number>();
        for (const [add, number] of operations) {
          const cpu = number % size;
          if (add) mask.add(cpu);
          else mask.delete(cpu);
          if (add) model.add(cpu);
          else model.delete(cpu);
        }
        expect([...mask]).toEqual(sorted(model));
        expect(mask.count()).toBe(model.size);
        expect(mask.isEmpty()).toBe(model.size === 0);
        expect(mask.first()).toBe(sorted(model)[0] ?? -1);
        for (let cpu = -1; cpu <= size; cpu++) {
          expect(mask.has(cpu)).toBe(model.has(cpu));
          expect(mask.next(cpu)).toBe(sorted(model).find((other) => other > cpu) ?? -1);
        }
      }),
    );
  });

  it("combines in place as sets do", () => {
    fc.assert(
      fc.property(pairs, ({ size, a, b }) => {
        const left = (): CpuMask => CpuMask.of(size, a);
        const right = CpuMask.of(size, b);
        const both = a.filter((cpu) => b.includes(cpu));
        expect([...left().and(right)]).toEqual(sorted(both));
        expect([...left().or(right)]).toEqual(sorted(new Set([...a, ...b])));
        expect([...left().andNot(right)]).toEqual(sorted(a.filter((cpu) => !b.includes(cpu))));
        expect([...left().xor(right)]).toEqual(sorted([...a, ...b].filter((cpu) => !both.includes(cpu))));
        expect(left().intersects(right)).toBe(both.length > 0);
        expect(left().equals(right)).toBe(sorted(a).join() === sorted(b).join());
        expect([...right]).toEqual(sorted(b));
      }),
    );
  });

  it("reads back what it prints, as a list and in hexadecimal", () => {
    fc.assert(
      fc.property(cpuSets, ({ size, cpus }) => {
        const mask = CpuMask.of(size, cpus);
        expect(CpuMask.parseList(mask.toList(), size).equals(mask)).toBe(true);
        expect(CpuMask.parseHex(mask.toHex(), size).equals(mask)).toBe(true);
      }),
    );
  });

  it("prints hexadecimal with the digits Linux prints for that many CPUs", () => {
    expect(CpuMask.of(8, [0, 1]).toHex()).toBe("03");
    expect(CpuMask.of(32, [31]).toHex()).toBe("80000000");
    expect(CpuMask.of(40, [0, 39]).toHex()).toBe("80,00000001");
    expect(new CpuMask(64).fill().toHex()).toBe("ffffffff,ffffffff");
    expect(new CpuMask(1).toHex()).toBe("0");
  });

  it("prints lists with ranges joined", () => {
    expect(CpuMask.of(16, [0, 1, 2, 3, 8]).toList()).toBe("0-3,8");
    expect(CpuMask.of(16, [0, 2, 14, 15]).toList()).toBe("0,2,14-15");
    expect(new CpuMask(16).toString()).toBe("");
    expect(new CpuMask(70).fill().toList()).toBe("0-69");
  });

  it("reads lists with blanks, line ends, overlaps and strides", () => {
    expect([...CpuMask.parseList(" 0-2, 1 ,5\n", 8)]).toEqual([0, 1, 2, 5]);
    expect([...CpuMask.parseList("0-7:2/4", 8)]).toEqual([0, 1, 4, 5]);
    expect([...CpuMask.parseList("\n", 8)]).toEqual([]);
  });

  it("reads hexadecimal with groups beyond its size only where they are zero", () => {
    expect([...CpuMask.parseHex("00000000,00000003\n", 4)]).toEqual([0, 1]);
    expect(() => CpuMask.parseHex("1,00000003", 4)).toThrow(expect.objectContaining({ code: "SMP_INVALID_CPU" }));
    expect(() => CpuMask.parseHex("10", 4)).toThrow(expect.objectContaining({ code: "SMP_INVALID_CPU" }));
  });

  it.each(["a", "1-", "-1", "3-1", "0,,1", "0-7:1", "0-7:3/2", "0-7:1/0", "1.5", "0-3 5"])(
    "refuses the list %j",
    (text) => {
      expect(() => CpuMask.parseList(text, 8)).toThrow(expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" }));
    },
  );

  it.each(["", "xyz", "123456789", "1,,2", "0x1"])("refuses the hexadecimal text %j", (text) => {
    expect(() => CpuMask.parseHex(text, 96)).toThrow(expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" }));
  });

  it("refuses CPUs outside it, and sizes that cannot be", () => {
    const invalidCpu = expect.objectContaining({ code: "SMP_INVALID_CPU" });
    const mask = new CpuMask(8);
    for (const cpu of [-1, 8, 1.5, Number.NaN, Infinity]) {
      expect(() => mask.add(cpu)).toThrow(invalidCpu);
      expect(() => mask.delete(cpu)).toThrow(invalidCpu);
    }
    expect(() => CpuMask.parseList("5-9", 8)).toThrow(invalidCpu);
    for (const size of [0, -1, 1.5, MAX_CPUS + 1]) {
      expect(() => new CpuMask(size)).toThrow(expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" }));
    }
    expect(new CpuMask(MAX_CPUS).fill().count()).toBe(MAX_CPUS);
  });

  it("does not combine with a mask of another size, and is not equal to one", () => {
    const mask = new CpuMask(8);
    const other = new CpuMask(9);
    for (const name of ["and", "or", "andNot", "xor", "copy", "intersects"] as const) {
      expect(() => mask[name](other)).toThrow(expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" }));
    }
    expect(mask.equals(other)).toBe(false);
  });

  it("clones to a set of its own", () => {
    const mask = CpuMask.of(8, [1]);
    const copy = mask.clone().add(2);
    expect([...mask]).toEqual([1]);
    expect([...copy]).toEqual([1, 2]);
    expect([...copy.clear()]).toEqual([]);
  });
});
