import { describe, expect, expectTypeOf, it } from "vitest";
import { KmemCache, structLayout } from "../src/index.ts";
import type { BytesField, NumberField, WordField } from "../src/index.ts";

const all = structLayout({
  a: "i8",
  b: "u8",
  c: "i16",
  d: "u16",
  e: "u16be",
  f: "i32",
  g: "u32",
  h: "u32be",
  i: "u64",
  j: "f32",
  k: "f64",
  l: { bytes: 5 },
  m: "u64be",
});

describe("structLayout", () => {
  it("lays fields out as C does", () => {
    const expected = { a: 0, b: 1, c: 2, d: 4, e: 6, f: 8, g: 12, h: 16, i: 24, j: 32, k: 40, l: 48, m: 53 };
    expect(all.offsets).toEqual(expected);
    expect([all.size, all.align]).toEqual([64, 8]);
    expect(structLayout({ x: "u8", y: "u16be" })).toMatchObject({ size: 3, align: 1 });
  });

  it("reads and writes what a DataView sees", () => {
    const cache = KmemCache.create({ name: "t", objectSize: all.size });
    const fields = all.on(cache.buffer);
    const object = cache.zalloc();
    const view = new DataView(cache.buffer, object, all.size);
    fields.a.set(object, -2);
    fields.b.set(object, 254);
    fields.c.set(object, -300);
    fields.d.set(object, 65_000);
    fields.e.set(object, 443);
    fields.f.set(object, -70_000);
    fields.g.set(object, 4_000_000_000);
    fields.h.set(object, 0xc0a80001);
    fields.i.set(object, 2 ** 52 + 5);
    fields.j.set(object, 0.5);
    fields.k.set(object, Math.PI);
    fields.l.copyFrom(object, Uint8Array.of(1, 2, 3, 4, 5));
    fields.m.set(object, 2 ** 52 + 6);
    expect([view.getBigUint64(53), fields.m.get(object)]).toEqual([BigInt(2 ** 52 + 6), 2 ** 52 + 6]);
    expect([view.getInt8(0), view.getUint8(1), view.getInt16(2, true), view.getUint16(4, true)]).toEqual([
      -2, 254, -300, 65_000,
    ]);
    expect([view.getUint16(6), view.getInt32(8, true), view.getUint32(12, true), view.getUint32(16)]).toEqual([
      443, -70_000, 4_000_000_000, 0xc0a80001,
    ]);
    expect([view.getBigUint64(24, true), view.getFloat32(32, true), view.getFloat64(40, true)]).toEqual([
      BigInt(2 ** 52 + 5),
      0.5,
      Math.PI,
    ]);
    const { a, b, c, d, e, f, g, h, i, j, k } = fields;
    expect([a, b, c, d, e, f, g, h, i, j, k].map((field) => field.get(object))).toEqual([
      -2,
      254,
      -300,
      65_000,
      443,
      -70_000,
      4_000_000_000,
      0xc0a80001,
      2 ** 52 + 5,
      0.5,
      Math.PI,
    ]);
    const copy = new Uint8Array(5);
    fields.l.copyTo(object, copy);
    expect([...copy, fields.l.get(object, 4)]).toEqual([1, 2, 3, 4, 5, 5]);
    fields.l.set(object, 0, 9);
    expect(view.getUint8(48)).toBe(9);
    cache.free(object);
  });

  it("adds like the type, and carries in 64-bit counters", () => {
    const cache = KmemCache.create({ name: "t", objectSize: all.size });
    const fields = all.on(cache.buffer);
    const object = cache.zalloc();
    for (const counter of [fields.i, fields.m]) {
      counter.set(object, 2 ** 32 - 1);
      counter.add(object, 1500);
      expect(counter.get(object)).toBe(2 ** 32 + 1499);
      counter.add(object, 2 ** 40);
      counter.add(object, -1500);
      expect(counter.get(object)).toBe(2 ** 40 + 2 ** 32 - 1);
    }
    for (const field of [fields.a, fields.b]) field.add(object, 257);
    expect([fields.a.get(object), fields.b.get(object)]).toEqual([1, 1]);
    for (const field of [fields.c, fields.d, fields.e]) field.add(object, 65_537);
    expect([fields.c.get(object), fields.d.get(object), fields.e.get(object)]).toEqual([1, 1, 1]);
    for (const field of [fields.f, fields.g, fields.h, fields.j, fields.k]) field.add(object, 3);
    expect([fields.f, fields.g, fields.h, fields.j, fields.k].map((field) => field.get(object))).toEqual([
      3, 3, 3, 3, 3,
    ]);
  });

  it("offers Atomics on words of 32 bits", () => {
    const cache = KmemCache.create({ name: "t", objectSize: all.size });
    const fields = all.on(cache.buffer);
    const object = cache.zalloc();
    for (const word of [fields.f, fields.g]) {
      word.store(object, 7);
      expect(word.fetchAdd(object, 2)).toBe(7);
      expect(word.compareExchange(object, 9, 1)).toBe(9);
      expect(word.compareExchange(object, 9, 5)).toBe(1);
      expect(word.load(object)).toBe(1);
    }
  });

  it("knows the fields and their kinds by type", () => {
    const fields = all.on(new SharedArrayBuffer(64));
    expectTypeOf(fields.e).toEqualTypeOf<NumberField>();
    expectTypeOf(fields.g).toEqualTypeOf<WordField>();
    expectTypeOf(fields.l).toEqualTypeOf<BytesField>();
    expectTypeOf(all.offsets.i).toEqualTypeOf<number>();
    // @ts-expect-error there is no such field
    expect(fields.nothing).toBeUndefined();
  });

  it("refuses fields of no kind, empty structs, and bytes that do not fit", () => {
    const refused = expect.objectContaining({ code: "SLAB_INVALID_ARGUMENT" });
    expect(() => structLayout({})).toThrow(refused);
    expect(() => structLayout({ a: { bytes: 0 } })).toThrow(refused);
    expect(() => structLayout({ a: "u128" as "u64" })).toThrow(refused);
    expect(() => all.on(new SharedArrayBuffer(64)).l.copyFrom(0, new Uint8Array(6))).toThrow(refused);
  });
});
