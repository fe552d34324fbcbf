import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Rcu, RcuCell, structCodec } from "../src/index.ts";

const layout = {
  version: "u8",
  port: "u16",
  address: "u32",
  delta: "i8",
  offset: "i16",
  sequence: "i32",
  ratio: "f64",
  enabled: "bool",
  name: { utf8: 24 },
  weights: { array: "u16", length: 3 },
  limits: { least: "i32", most: "i32" },
  servers: { array: { host: { utf8: 8 }, port: "u16" }, length: 2 },
} as const;

const integer = (bits: number, signed: boolean): fc.Arbitrary<number> =>
  fc.integer({ min: signed ? -(2 ** (bits - 1)) : 0, max: 2 ** (signed ? bits - 1 : bits) - 1 });
const text = (maxBytes: number): fc.Arbitrary<string> =>
  fc.string({ unit: "binary" }).filter((value) => new TextEncoder().encode(value).length <= maxBytes);

const values = fc.record({
  version: integer(8, false),
  port: integer(16, false),
  address: integer(32, false),
  delta: integer(8, true),
  offset: integer(16, true),
  sequence: integer(32, true),
  ratio: fc.double(),
  enabled: fc.boolean(),
  name: text(24),
  weights: fc.tuple(integer(16, false), integer(16, false), integer(16, false)),
  limits: fc.record({ least: integer(32, true), most: integer(32, true) }),
  servers: fc.tuple(
    fc.record({ host: text(8), port: integer(16, false) }),
    fc.record({ host: text(8), port: integer(16, false) }),
  ),
});

const invalidAt = (path: string): object =>
  expect.objectContaining({ code: "RCU_INVALID_ARGUMENT", location: { path } });

describe("a struct codec", () => {
  it("gives back every value of its layout, always in as many bytes", () => {
    const codec = structCodec(layout);
    const sizes = new Set<number>();
    fc.assert(
      fc.property(values, (value) => {
        const bytes = codec.encode(value);
        sizes.add(bytes.length);
        expect(codec.decode(bytes)).toEqual(value);
      }),
    );
    expect([...sizes]).toEqual([1 + 2 + 4 + 1 + 2 + 4 + 8 + 1 + 28 + 6 + 8 + 2 * 14]);
  });

  it("lays fields one behind the other, little-endian", () => {
    const bytes = structCodec({ a: "u8", b: "u16", c: { utf8: 3 } }).encode({ a: 1, b: 0x0302, c: "hi" });
    expect([...bytes]).toEqual([1, 2, 3, 2, 0, 0, 0, 104, 105, 0]);
  });

  it("refuses what the layout cannot hold, and says where", () => {
    const codec = structCodec({ n: "u8", list: { array: { on: "bool" }, length: 2 }, name: { utf8: 2 } });
    const good = { n: 1, list: [{ on: true }, { on: false }], name: "" };
    expect(codec.decode(codec.encode(good))).toEqual(good);
    for (const n of [256, -1, 1.5, Number.NaN]) expect(() => codec.encode({ ...good, n })).toThrow(invalidAt("/n"));
    for (const name of ["abc", "é€", "\ud800"])
      expect(() => codec.encode({ ...good, name })).toThrow(invalidAt("/name"));
    expect(() => codec.encode({ ...good, list: [{ on: true }] })).toThrow(invalidAt("/list"));
    const bad = [{ on: true }, { on: 1 as unknown as boolean }];
    expect(() => codec.encode({ ...good, list: bad })).toThrow(invalidAt("/list/1/on"));
    expect(() => codec.encode(null as never)).toThrow(invalidAt(""));
  });

  it("refuses a layout that is none", () => {
    expect(() => structCodec({})).toThrow(invalidAt(""));
    expect(() => structCodec({ a: "u64" as "u32" })).toThrow(invalidAt("/a"));
    expect(() => structCodec({ a: { b: { utf8: 0 } } })).toThrow(invalidAt("/a/b"));
    expect(() => structCodec({ a: { array: "u8", length: -1 } })).toThrow(invalidAt("/a"));
  });

  it("serves a cell, which freezes what it decodes", () => {
    const rcu = Rcu.create();
    const codec = structCodec({ limits: { array: "u16", length: 2 } });
    const cell = RcuCell.create<ReturnType<typeof codec.decode>>({
      rcu,
      codec,
      initial: { limits: [1, 2] },
      maxBytes: 4,
    });
    expect(cell.update({ limits: [3, 4] })).toBe(2);
    const value = cell.read();
    expect(value).toEqual({ limits: [3, 4] });
    expect(Object.isFrozen(value) && Object.isFrozen(value.limits)).toBe(true);
    expect(() => cell.update({ limits: [3, 70_000] })).toThrow(invalidAt("/limits/1"));
    expect(cell.version).toBe(2);
  });
});
