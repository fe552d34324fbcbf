import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { soloHal } from "@x/smp";
import { SymbolTable, UNKNOWN_SYMBOL } from "../src/index.ts";

describe("SymbolTable", () => {
  it("gives one id to one name, and the name back, in every attached table", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: "binary" }), fc.constantFrom("", "vmlinux"))), (symbols) => {
        const table = SymbolTable.create();
        const other = SymbolTable.attach(table.handle, { hal: soloHal() });
        const usable = symbols.filter(([name]) => !name.includes("\0"));
        usable.forEach(([name, module], index) => {
          const id = (index % 2 === 0 ? table : other).intern(name, module);
          for (const each of [table, other]) {
            expect(each.intern(name, module)).toBe(id);
            expect(each.name(id)).toBe(name);
            expect(each.module(id)).toBe(module);
          }
        });
        const distinct = new Set(["[unknown]\0", ...usable.map((symbol) => symbol.join("\0"))]);
        expect(table.count).toBe(distinct.size);
      }),
    );
  });

  it("has the unknown symbol from the start and answers it for ids never given out", () => {
    const table = SymbolTable.create();
    expect(table.count).toBe(1);
    expect(table.name(UNKNOWN_SYMBOL)).toBe("[unknown]");
    expect(table.name(77)).toBe("[unknown]");
    expect(table.name(-1)).toBe("[unknown]");
  });

  it("answers the unknown symbol and counts when it is full of symbols or of text", () => {
    const few = SymbolTable.create({ capacity: 3 });
    expect(["a", "b", "c", "d", "a"].map((name) => few.intern(name))).toEqual([1, 2, 0, 0, 1]);
    expect(few.overflowed).toBe(2);
    const small = SymbolTable.create({ bytes: 16 });
    expect(small.intern("eight by")).toBe(0);
    expect(small.intern("7 bytes")).toBe(1);
    expect(small.overflowed).toBe(1);
  });
});
