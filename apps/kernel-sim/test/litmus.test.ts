import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runLitmus, type LitmusReport } from "../src/litmus/litmus.ts";
import { axiomaticStates, type Access } from "./axiomatic-tso.ts";
import { call, exchange, load, mb, observing, program, store } from "./litmus-programs.ts";

const verdict = (given: object, model: "sc" | "tso" = "sc"): LitmusReport["verdict"] => runLitmus(given, model).verdict;
const both = (given: object): string => `${verdict(given)} ${verdict(given, "tso")}`;
const lock = (loc: string): object => call("lock", { loc });
const unlock = (loc: string): object => call("unlock", { loc });
const [readLock, readUnlock, synchronize] = ["rcu_read_lock", "rcu_read_unlock", "synchronize_rcu"].map((name) =>
  call(name),
);

describe("litmus", () => {
  it("gives the classic shapes the outcomes of the literature, sc then tso", () => {
    const sb = "0:r1=0 /\\ 1:r1=0";
    const mp = "1:r1=1 /\\ 1:r2=0";
    expect(both(program(sb, [store("x", 1), load("r1", "y")], [store("y", 1), load("r1", "x")]))).toBe(
      "Never Sometimes",
    );
    expect(both(program(sb, [store("x", 1), mb, load("r1", "y")], [store("y", 1), mb, load("r1", "x")]))).toBe(
      "Never Never",
    );
    expect(both(program(sb, [store("x", 1), mb, load("r1", "y")], [store("y", 1), load("r1", "x")]))).toBe(
      "Never Sometimes",
    );
    expect(
      both(program(sb, [exchange("r0", "x", 1), load("r1", "y")], [exchange("r0", "y", 1), load("r1", "x")])),
    ).toBe("Never Never");
    expect(both(program(mp, [store("x", 1), store("y", 1)], [load("r1", "y"), load("r2", "x")]))).toBe("Never Never");
    expect(both(program("0:r1=1 /\\ 1:r1=1", [load("r1", "x"), store("y", 1)], [load("r1", "y"), store("x", 1)]))).toBe(
      "Never Never",
    );
    expect(both(program("x=1 /\\ y=1", [store("x", 1), store("y", 2)], [store("y", 1), store("x", 2)]))).toBe(
      "Never Never",
    );
    expect(both(program("[y]=2 /\\ 1:r1=0", [store("x", 1), store("y", 1)], [store("y", 2), load("r1", "x")]))).toBe(
      "Never Sometimes",
    );
    const iriw = "1:r1=1 /\\ 1:r2=0 /\\ 3:r1=1 /\\ 3:r2=0";
    const reader = (first: string, second: string): object[] => [load("r1", first), load("r2", second)];
    expect(both(program(iriw, [store("x", 1)], reader("x", "y"), [store("y", 1)], reader("y", "x")))).toBe(
      "Never Never",
    );
  });

  it("agrees with the axioms of both models on random programs", () => {
    const access = fc.oneof(
      fc.record({ kind: fc.constant("R" as const), at: fc.nat(1) }),
      fc.record({ kind: fc.constant("W" as const), at: fc.nat(1) }),
      fc.constant({ kind: "F" as const }),
    );
    const locations = ["x", "y"];
    fc.assert(
      fc.property(
        fc.array(fc.array(access, { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 3 }),
        (drawn) => {
          let next = 0;
          const threads = drawn.map((thread) =>
            thread.map((one, index): Access => {
              if (one.kind === "R") return { ...one, register: `r${index}` };
              return one.kind === "W" ? { ...one, value: ++next } : one;
            }),
          );
          const bodies = threads.map((thread) =>
            thread.map((one) => {
              if (one.kind === "F") return mb;
              return one.kind === "R" ? load(one.register, locations[one.at]) : store(locations[one.at], one.value);
            }),
          );
          const registers = threads.flatMap((thread, number) =>
            thread.flatMap((one) => (one.kind === "R" ? [`${number}:${one.register}`] : [])),
          );
          const given = observing([...registers, ...locations], ...bodies);
          for (const model of ["sc", "tso"] as const) {
            const expected = axiomaticStates(threads, locations, model).map((state) =>
              state.split(" ").sort().join(" "),
            );
            const states = runLitmus(given, model).states.map((state) => state.split(" ").sort().join(" "));
            expect(states.toSorted()).toEqual(expected.toSorted());
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("lets no reader see both sides of a grace period, whatever the store buffers hold", () => {
    const updater = [store("x", 1), synchronize, store("y", 1)];
    const reader = (first: string, second: string, ...locks: object[]): object[] => [
      locks[0],
      load("r1", first),
      load("r2", second),
      locks[1],
    ];
    const early = "1:r1=0 /\\ 1:r2=1";
    expect(both(program(early, updater, reader("x", "y", readLock, readUnlock)))).toBe("Never Never");
    expect(both(program("1:r1=1 /\\ 1:r2=0", updater, reader("y", "x", readLock, readUnlock)))).toBe("Never Never");
    expect(both(program(early, updater, [load("r1", "x"), load("r2", "y")]))).toBe("Sometimes Sometimes");
    const storing = [readLock, load("r1", "y"), store("x", 1), readUnlock];
    expect(both(program("0:r1=0 /\\ 1:r1=0", [store("y", 1), synchronize, load("r1", "x")], storing))).toBe(
      "Never Never",
    );
    const nested = [readLock, load("r1", "x"), readLock, readUnlock, load("r2", "y"), readUnlock];
    expect(both(program(early, updater, nested))).toBe("Never Never");
  });

  it("lets as many sections as grace periods defeat no cycle, and more sections than grace periods defeat it", () => {
    const section = (from: string, to: string): object[] => [readLock, load("r1", from), store(to, 1), readUnlock];
    const period = (from: string, to: string): object[] => [load("r1", from), synchronize, store(to, 1)];
    const cycle = (...bodies: object[][]): object =>
      program(bodies.map((_, thread) => `${thread}:r1=1`).join(" /\\ "), ...bodies);
    expect(both(cycle(period("z", "x"), section("x", "z")))).toBe("Never Never");
    // Under both models even a plain cycle of loads before stores is forbidden: what grace periods add shows in stores before loads.
    const late = (from: string, to: string, ...locks: object[]): object[] => [
      locks[0],
      store(from, 1),
      load("r1", to),
      locks[1],
    ];
    const sync = (from: string, to: string): object[] => [store(from, 1), synchronize, load("r1", to)];
    const zeros = (...bodies: object[][]): object =>
      program(bodies.map((_, thread) => `${thread}:r1=0`).join(" /\\ "), ...bodies);
    expect(both(zeros(sync("x", "y"), late("y", "x", readLock, readUnlock)))).toBe("Never Never");
    expect(
      verdict(zeros(sync("x", "y"), late("y", "z", readLock, readUnlock), late("z", "x", readLock, readUnlock)), "tso"),
    ).toBe("Sometimes");
    expect(
      verdict(
        zeros(
          sync("x", "y"),
          late("y", "z", readLock, readUnlock),
          sync("z", "w"),
          late("w", "x", readLock, readUnlock),
        ),
        "tso",
      ),
    ).toBe("Never");
  });

  it("keeps SRCU's domains apart, and waits for a section by its index", () => {
    const reader = (domain: string): object[] => [
      { set: "r0", to: { call: "srcu_read_lock", loc: domain } },
      load("r1", "x"),
      load("r2", "y"),
      call("srcu_read_unlock", { loc: domain, idx: { reg: "r0" } }),
    ];
    const updater = [store("x", 1), call("synchronize_srcu", { loc: "s" }), store("y", 1)];
    expect(both(program("1:r1=0 /\\ 1:r2=1", updater, reader("s")))).toBe("Never Never");
    expect(both(program("1:r1=0 /\\ 1:r2=1", updater, reader("t")))).toBe("Sometimes Sometimes");
  });

  it("has locks that exclude, and tries that fail", () => {
    const inside = [lock("l"), load("r1", "x"), store("x", 1), unlock("l")];
    expect(both(program("0:r1=0 /\\ 1:r1=0", inside, inside))).toBe("Never Never");
    const trying = { set: "r1", to: { call: "trylock", loc: "l" } };
    expect(runLitmus(program("0:r1=1 \\/ 1:r1=1", [trying], [trying]), "sc")).toMatchObject({
      verdict: "Always",
      positive: 2,
    });
    const seen = { set: "r1", to: { call: "isLocked", loc: "l" } };
    expect(verdict(program("1:r1=1", [lock("l"), unlock("l")], [seen]))).toBe("Sometimes");
  });

  it("tells executions that cannot finish: a grace period in its own section, two locks in two orders", () => {
    expect(runLitmus(program("true", [readLock, synchronize, readUnlock]), "sc")).toMatchObject({
      deadlock: true,
      states: [],
    });
    const order = (first: string, second: string): object[] => [
      lock(first),
      lock(second),
      unlock(second),
      unlock(first),
    ];
    expect(runLitmus(program("true", order("a", "b"), order("b", "a")), "sc")).toMatchObject({
      deadlock: true,
      positive: 1,
    });
    expect(runLitmus(program("true", order("a", "b"), order("a", "b")), "sc").deadlock).toBe(false);
  });

  it("follows pointers, chooses, computes, and leaves out executions that use a number as an address", () => {
    const given = {
      ...program(
        "1:r2=5",
        [{ do: { call: "store", loc: "p", value: { addrOf: "a" }, order: "release" } }],
        [
          { set: "r1", to: { call: "load", loc: "p", order: "deref" } },
          {
            if: { op: "!=", args: [{ reg: "r1" }, { const: 0 }] },
            // oxlint-disable-next-line unicorn/no-thenable -- a member of the format
            then: [load("r2", "r1")],
            else: [{ set: "r2", to: { op: "-", args: [{ const: 3 }, { const: 4 }] } }],
          },
        ],
      ),
      init: { a: 5 },
      locations: ["1:r1", "p"],
    };
    const report = runLitmus(given, "sc");
    expect(report).toMatchObject({ verdict: "Sometimes", fault: false, exhausted: true });
    expect(report.states).toEqual(["1:r1=0; 1:r2=-1; [p]=a;", "1:r1=a; 1:r2=5; [p]=a;"]);
    expect(runLitmus(program("true", [load("r1", "p"), load("r2", "r1")]), "sc")).toMatchObject({
      fault: true,
      states: [],
    });
    const swap = {
      set: "r1",
      to: { call: "cmpxchg", loc: "x", expect: { const: 0 }, value: { const: 1 }, order: "full" },
    };
    expect(both(program("0:r1=0 /\\ 1:r1=0", [swap], [swap]))).toBe("Never Never");
    const add = {
      set: "r1",
      to: { call: "addUnless", loc: "x", add: { const: 1 }, unless: { const: 1 }, order: "full" },
    };
    expect(runLitmus(program("x=1 /\\ ~0:r1=1:r1", [add], [add]), "sc").verdict).toBe("Always");
  });

  it("gives up after as many states as it was told, and says so", () => {
    const bodies = [1, 2, 3, 4].map((value) => [store("x", value), store("y", value), store("z", value)]);
    expect(runLitmus(program("true", ...bodies), "sc", 100)).toMatchObject({ exhausted: false, explored: 100 });
    expect(runLitmus(program("true", ...bodies), "sc").exhausted).toBe(true);
  });

  it("names the place of what it does not understand", () => {
    const wrong = (given: unknown): string => {
      try {
        runLitmus(given, "sc");
      } catch (error) {
        const { code, location, message } = error as { code: string; location: { path: string }; message: string };
        return `${code} ${location.path}: ${message}`;
      }
      return "";
    };
    const good = program("true", [store("x", 1)]) as { threads: { body: unknown[] }[] };
    expect(wrong([])).toBe("SIM_INPUT /: an object is expected");
    expect(wrong({ ...good, threads: [] })).toBe("SIM_INPUT /threads: 1 to 8 threads are expected");
    expect(wrong(program("true", [{}]))).toBe("SIM_INPUT /threads/0/body/0: no statement: set, do or if is expected");
    expect(wrong(program("true", [call("sleep")]))).toMatch(
      /^SIM_INPUT \/threads\/0\/body\/0\/do\/call: must be one of load, /,
    );
    expect(wrong(program("true", [call("load", { loc: "x", order: "weak" })]))).toMatch(
      /order: must be one of once, plain, acquire, deref$/,
    );
    expect(wrong(program("true", [call("store", { loc: "x", order: "once", value: { const: 1.5 } })]))).toMatch(
      /value\/const: an integer is expected$/,
    );
    expect(wrong({ ...good, init: { x: { addrOf: 1 } } })).toBe("SIM_INPUT /init/x/addrOf: a text is expected");
    expect(wrong({ ...good, condition: "0:r1=0 /\\" })).toBe("SIM_INPUT /condition: «the end» is not understood here");
    expect(wrong({ ...good, condition: "0:r1 ? 0" })).toBe("SIM_INPUT /condition: «? 0» is not understood here");
    expect(wrong({ ...good, condition: "3:r1=0" })).toBe("SIM_INPUT /condition: there is no thread 3");
    const sections = [1, 2, 3, 4, 5].map((n) => ({ set: `r${n}`, to: { call: "srcu_read_lock", loc: "s" } }));
    expect(wrong(program("true", sections))).toBe(
      "SIM_INPUT /threads/0: a thread has more than 4 read sections under way",
    );
  });
});
