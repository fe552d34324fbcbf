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
        expect(mask.last()).toBe(sorted(model).at(-1) ?? -1);
        const visited: number[] = [];
        mask.forEach((cpu) => visited.push(cpu));
        expect(visited).toEqual(sorted(model));
        for (let cpu = -1; cpu <= size; cpu++) {
          expect(mask.has(cpu)).toBe(model.has(cpu));
          expect(mask.next(cpu)).toBe(sorted(model).find((other) => other > cpu) ?? -1);
        }
      }),
    );
  });

  it("is walked rightly whatever happens to the set between two steps", () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ kind: fc.constant("next" as const), from: fc.integer({ min: -1, max: 200 }) }),
        fc.record({ kind: fc.constant("go on" as const) }),
        fc.record({ kind: fc.constantFrom("add" as const, "delete" as const), cpu: fc.nat(199) }),
        fc.record({
          kind: fc.constantFrom("and", "or", "andNot", "xor", "copy" as const),
          cpus: fc.array(fc.nat(199)),
        }),
        fc.record({ kind: fc.constantFrom("clear", "fill", "not" as const) }),
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, (operations) => {
        const mask = CpuMask.of(200, [3, 40, 64, 199]);
        const fresh = (after: number): number =>
          [...CpuMask.parseHex(mask.toHex(), 200)].find((cpu) => cpu > after) ?? -1;
        let at = -1;
        for (const step of operations) {
          if (step.kind === "next" || step.kind === "go on") {
            const after = "from" in step ? step.from : at;
            expect((at = mask.next(after))).toBe(fresh(after));
          } else if ("cpu" in step) mask[step.kind](step.cpu);
          else if ("cpus" in step) mask[step.kind as "and"](CpuMask.of(200, step.cpus));
          else mask[step.kind]();
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
        const all = Array.from({ length: size }, (_, cpu) => cpu);
        expect([...left().not()]).toEqual(all.filter((cpu) => !a.includes(cpu)));
        expect([...left().not().or(left())]).toEqual(all);
        expect(left().isSubsetOf(right)).toBe(both.length === a.length);
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

  it.each([
    ["0-3,8,10-20:2", "0-3,8,10,12,14,16,18,20"],
    ["0-3,8,10-20:2/5", "0-3,8,10-11,15-16,20"],
    ["N", "23"],
    ["N-N", "23"],
    ["20-N", "20-23"],
    ["all", "0-23"],
    ["ALL", "0-23"],
    ["all:1/6", "0,6,12,18"],
    ["all:2/N", "0-1,23"],
    ["0-23:0/4", ""],
    ["3-5:9/9,2", "2-5"],
    [",,1,,3-4,", "1,3-4"],
    ["1 3\t5\n", "1,3,5"],
    ["007", "7"],
  ])("reads the list %j as %j, of 24 CPUs", (text, list) => {
    expect(CpuMask.parseList(text, 24).toList()).toBe(list);
  });

  it("reads strides as the definition has them", () => {
    const numbers = fc.nat(70);
    fc.assert(
      fc.property(numbers, numbers, numbers, numbers, (from, length, taken, more) => {
        const group = taken + more + 1;
        const expected = sorted(Array.from({ length: length + 1 }, (_, at) => from + at)).filter(
          (cpu) => (cpu - from) % group < taken,
        );
        expect([...CpuMask.parseList(`${from}-${from + length}:${taken}/${group}`, 200)]).toEqual(expected);
      }),
    );
  });

  it("reads hexadecimal numbers of any length, as taskset prints them", () => {
    fc.assert(
      fc.property(cpuSets, fc.constantFrom("", "0x"), ({ size, cpus }, prefix) => {
        const number = cpus.reduce((sum, cpu) => sum | (1n << BigInt(cpu)), 0n);
        expect([...CpuMask.parseHex(prefix + number.toString(16), size)]).toEqual(sorted(cpus));
      }),
    );
    expect(CpuMask.parseHex(" \n", 8).isEmpty()).toBe(true);
  });

  it("reads hexadecimal with groups beyond its size only where they are zero", () => {
    expect([...CpuMask.parseHex("00000000,00000003\n", 4)]).toEqual([0, 1]);
    expect(() => CpuMask.parseHex("1,00000003", 4)).toThrow(expect.objectContaining({ code: "SMP_INVALID_CPU" }));
    expect(() => CpuMask.parseHex("10", 4)).toThrow(expect.objectContaining({ code: "SMP_INVALID_CPU" }));
  });

  it.each([
    "a",
    "1-",
    "-1",
    "3-1",
    "0-7:",
    "0-7:0",
    "0-7:3/2",
    "0-7:1/0",
    "1.5",
    "5:1/2",
    "n",
    "1-2-3",
    "a-b",
    "all-3",
    "0x1",
  ])("refuses the list %j", (text) => {
    expect(() => CpuMask.parseList(text, 8)).toThrow(expect.objectContaining({ code: "SMP_INVALID_ARGUMENT" }));
  });

  it.each(["xyz", "1,,2", "0x", "0x1,2", "1,123456789", "-1"])("refuses the hexadecimal text %j", (text) => {
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
    for (const name of ["and", "or", "andNot", "xor", "copy", "intersects", "isSubsetOf"] as const) {
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
