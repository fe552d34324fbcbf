import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FlowFacts, HostNameTable, parseAddress } from "@x/proxy-dataplane";
import { testHal, type TestHal } from "../machine.ts";

interface Fixture {
  readonly hal: TestHal;
  readonly table: HostNameTable;
  readonly learn: (address: string, name: string, ttl?: number) => void;
  readonly find: (address: string) => string;
}

function fixture(entries = 64): Fixture {
  const hal = testHal();
  const table = HostNameTable.create({ hal, entries });
  const words = new Int32Array(4);
  const facts = new FlowFacts();
  return {
    hal,
    table,
    learn: (address, name, ttl = 100) => {
      const family = parseAddress(address, words, 0);
      facts.setName(name);
      table.learn(words, 0, family === 6, facts.name, facts.nameLength, ttl);
    },
    find: (address) => {
      const family = parseAddress(address, words, 0);
      const length = table.find(words, 0, family === 6, facts.name);
      return String.fromCharCode(...facts.name.subarray(0, length));
    },
  };
}

describe("names of addresses", () => {
  test("are found until their time is over, and are replaced by newer ones", () => {
    const { hal, learn, find } = fixture();
    learn("192.0.2.1", "A.test", 100);
    learn("2001:db8::1", "b.test", 100);
    expect([find("192.0.2.1"), find("2001:db8::1"), find("192.0.2.2")]).toEqual(["a.test", "b.test", ""]);
    expect(find("::ffff:192.0.2.1")).toBe("a.test");
    learn("192.0.2.1", "c.test", 200);
    hal.nowNs += 101e9;
    expect([find("192.0.2.1"), find("2001:db8::1")]).toEqual(["c.test", ""]);
  });

  test("are kept for a minute at least and a day at most", () => {
    const { hal, learn, find } = fixture();
    learn("192.0.2.1", "a.test", 0);
    learn("192.0.2.2", "b.test", 1e9);
    hal.nowNs += 59e9;
    expect(find("192.0.2.1")).toBe("a.test");
    hal.nowNs += 2e9;
    expect([find("192.0.2.1"), find("192.0.2.2")]).toEqual(["", "b.test"]);
    hal.nowNs += 86_400e9;
    expect(find("192.0.2.2")).toBe("");
  });

  test("are what was learnt last or nothing, whatever is learnt, in bounded memory", () => {
    const address = fc.oneof(
      fc.nat(40).map((one) => `192.0.2.${one}`),
      fc.nat(40).map((one) => `2001:db8::${one.toString(16)}`),
    );
    const name = fc.oneof(fc.stringMatching(/^[a-z]{1,5}\.test$/), fc.constant(`${"a".repeat(240)}.long.test`));
    fc.assert(
      fc.property(fc.array(fc.tuple(address, name), { maxLength: 200 }), (learnt) => {
        const { table, learn, find } = fixture(16);
        const last = new Map<string, string>();
        for (const [one, its] of learnt) {
          learn(one, its);
          last.set(one, its);
          expect(find(one)).toBe(its);
        }
        for (const [one, its] of last) expect(["", its]).toContain(find(one));
        expect(table.handle.memory.byteLength).toBe(16 * 288);
      }),
      { numRuns: 50 },
    );
  });

  test("that are no names are not learnt, and sizes that are none are refused", () => {
    const { learn, find } = fixture();
    learn("192.0.2.1", "");
    learn("192.0.2.1", "a".repeat(300));
    expect(find("192.0.2.1")).toBe("");
    for (const entries of [0, 3, 6, 1 << 21]) {
      expect(() => HostNameTable.create({ entries })).toThrow(
        expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT" }),
      );
    }
  });
});
