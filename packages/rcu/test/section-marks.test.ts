import * as fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Rcu } from "../src/index.ts";
import { CURRENT, ERA, FIRST_CPU, STRIDE_WORDS } from "../src/grace-period-layout.ts";
import { marksByAtomics, marksByWasm, newWasmMemory, type SectionMarks } from "../src/section-marks.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("the marks of a section", () => {
  it("do the same by Atomics and by WebAssembly", () => {
    const memory = newWasmMemory(4096);
    if (memory === undefined) throw new Error("this engine has no shared memory of WebAssembly");
    const compiled = marksByWasm(memory);
    if (compiled === undefined) throw new Error("this engine refuses WebAssembly");
    const byWasm = new Int32Array(memory.buffer);
    const byAtomics = new Int32Array(new SharedArrayBuffer(memory.buffer.byteLength));
    const word = fc.oneof(fc.constantFrom(0, 1, 2, 3, -1, 0x7fffffff, -0x80000000), fc.integer());
    const act = fc.record({ cpu: fc.nat(20), current: word, era: word, seen: word, known: word, knownEra: word });
    fc.assert(
      fc.property(act, fc.boolean(), fc.boolean(), ({ cpu, current, era, seen, known, knownEra }, same, sameEra) => {
        const at = FIRST_CPU + cpu * STRIDE_WORDS;
        const results = ([marks, words]: [SectionMarks, Int32Array]) => {
          words[CURRENT] = current;
          words[ERA] = era;
          words[at] = seen;
          const left = marks.leave(at);
          const offline = words[at];
          const entered = marks.enter(at, same ? current : known, sameEra ? era : knownEra);
          return [left, offline, entered, [...words]];
        };
        const found = results([compiled, byWasm]);
        expect(found).toEqual(results([marksByAtomics(byAtomics), byAtomics]));
        expect(found.slice(0, 2)).toEqual([seen, 0]);
      }),
    );
  });

  it("are made by Atomics where there is no WebAssembly, in the memory of others who have it", () => {
    const compiled = Rcu.create({ flavour: "memory-barrier" });
    vi.stubGlobal("WebAssembly", undefined);
    const plain = Rcu.create({ flavour: "memory-barrier" });
    expect(plain.handle.wasmMemory).toBeUndefined();
    for (const rcu of [plain, Rcu.attach(compiled.handle, { hal: compiled.hal })]) {
      rcu.readLock();
      const cookie = rcu.startPoll();
      expect([rcu.poll(cookie), rcu.isOnline()]).toEqual([false, true]);
      rcu.readUnlock();
      expect([rcu.poll(cookie), rcu.isOnline()]).toEqual([true, false]);
    }
    expect(compiled.stats().gracePeriods).toBe(1);
  });

  it("are made by Atomics where WebAssembly is refused", () => {
    expect(marksByWasm({})).toBeUndefined();
    const refuse = (): never => {
      throw new RangeError("could not allocate memory");
    };
    vi.stubGlobal("WebAssembly", { Memory: refuse });
    expect(newWasmMemory(1)).toBeUndefined();
  });

  it("need WebAssembly in no other flavour", () => {
    expect(Rcu.create().handle.wasmMemory).toBeUndefined();
    expect(Rcu.create({ flavour: "sleepable" }).handle.wasmMemory).toBeUndefined();
  });
});
