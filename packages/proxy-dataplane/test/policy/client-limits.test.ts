import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ClientLimits,
  compilePolicy,
  parseAddress,
  Refusal,
  type ClientLimit,
  type Policy,
  type ProxyLimits,
} from "@x/proxy-dataplane";
import { SpinLocks } from "@x/smp";
import { testHal, type TestHal } from "../machine.ts";

const policyOf = (limits?: ProxyLimits): Policy =>
  compilePolicy({ version: 1, selection: "random", servers: [], ...(limits === undefined ? {} : { limits }) });

interface Fixture {
  readonly hal: TestHal;
  readonly limits: ClientLimits;
  readonly admit: (address: string, policy?: Policy) => number;
}

function fixture(perClient: ClientLimit, more: ProxyLimits = {}, entries = 64): Fixture & { policy: Policy } {
  const hal = testHal();
  const limits = ClientLimits.create({ hal, entries, hashKey: [1, 2, 3, 4] });
  const own = policyOf({ perClient, ...more });
  const words = new Int32Array(4);
  return {
    hal,
    limits,
    policy: own,
    admit: (address, policy = own) => {
      const family = parseAddress(address, words, 0);
      return limits.admit(policy, words, 0, family === 6);
    },
  };
}

describe("connections of a client", () => {
  test("are as many at once as the limit says, each client for itself", () => {
    const { admit, limits } = fixture({ connections: 2 });
    const [first, second] = [admit("192.0.2.1"), admit("192.0.2.1")];
    expect(first).toBeGreaterThan(0);
    expect(second).toBe(first);
    expect(limits.open(first)).toBe(2);
    expect(admit("192.0.2.1")).toBe(Refusal.Connections);
    expect(admit("192.0.2.2")).toBeGreaterThan(0);
    limits.release(first);
    expect(admit("::ffff:192.0.2.1")).toBe(first);
    expect(admit("192.0.2.1")).toBe(Refusal.Connections);
  });

  test("come no faster than the limit says, after a burst", () => {
    const { admit, hal, limits } = fixture({ connectionsPerSecond: 10, connectionBurst: 5 });
    const burst = (count: number): number =>
      Array.from({ length: count }, () => admit("192.0.2.1")).filter((ticket) => ticket > 0).length;
    expect(burst(20)).toBe(5);
    expect(admit("192.0.2.1")).toBe(Refusal.Rate);
    hal.nowNs += 300e6;
    expect(burst(20)).toBe(3);
    hal.nowNs += 3600e9;
    expect(burst(20)).toBe(5);
    limits.release(admit("192.0.2.9"));
  });

  test("never exceed what a token bucket allows, whenever they come", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(400), { maxLength: 120 }), fc.integer({ min: 1, max: 20 }), (waits, burst) => {
        const { admit, hal } = fixture({ connectionsPerSecond: 7, connectionBurst: burst });
        let tokens = burst;
        for (const waitMs of waits) {
          hal.nowNs += waitMs * 1e6;
          tokens = Math.min(burst, tokens + (waitMs * 7) / 1000);
          // Where the model is within rounding of a whole token either answer is right.
          const isClear = Math.abs(tokens - 1) > 1e-6;
          const isAdmitted = admit("192.0.2.1") > 0;
          if (isClear) expect(isAdmitted).toBe(tokens >= 1);
          if (isAdmitted) tokens--;
        }
      }),
      { numRuns: 100 },
    );
  });

  test("of IPv6 are counted by the network a host has", () => {
    const { admit } = fixture({ connections: 1 });
    expect(admit("2001:db8:0:1::1")).toBeGreaterThan(0);
    expect(admit("2001:db8:0:1:ffff::2")).toBe(Refusal.Connections);
    expect(admit("2001:db8:0:2::1")).toBeGreaterThan(0);
    const wide = fixture({ connections: 1 }, { ipv4Bits: 24, ipv6Bits: 48 });
    expect(wide.admit("192.0.2.1")).toBeGreaterThan(0);
    expect(wide.admit("192.0.2.200")).toBe(Refusal.Connections);
    expect(wide.admit("2001:db8:0:1::1")).toBeGreaterThan(0);
    expect(wide.admit("2001:db8:0:2::1")).toBe(Refusal.Connections);
  });

  test("obey a new limit at once, and none without one", () => {
    const { admit, limits } = fixture({ connections: 5 });
    for (let i = 0; i < 3; i++) admit("192.0.2.1");
    expect(admit("192.0.2.1", policyOf({ perClient: { connections: 2 } }))).toBe(Refusal.Connections);
    expect(admit("192.0.2.1", policyOf())).toBe(0);
    limits.release(0);
    expect(admit("192.0.2.1", policyOf({ perClient: {} }))).toBeGreaterThan(0);
    expect(admit("192.0.2.1", policyOf({ perClient: { connections: 0 } }))).toBe(Refusal.Connections);
  });
});

describe("bytes of a client", () => {
  test("beyond the burst are waited for", () => {
    const { admit, hal, limits, policy } = fixture({ bytesPerSecond: 1000, byteBurst: 500 });
    const ticket = admit("192.0.2.1");
    expect(limits.spend(policy, ticket, 500)).toBe(0);
    expect(limits.spend(policy, ticket, 250)).toBe(250e6);
    expect(limits.spend(policy, ticket, 250)).toBe(500e6);
    hal.nowNs += 600e6;
    expect(limits.spend(policy, ticket, 100)).toBe(0);
    expect(limits.spend(policy, 0, 1e9)).toBe(0);
    expect(limits.spend(policyOf({ perClient: {} }), ticket, 1e9)).toBe(0);
  });
});

describe("users", () => {
  test("have limits of their own, over all their clients", () => {
    const { admit, limits } = fixture({}, { perUser: { connections: 1, bytesPerSecond: 10, byteBurst: 10 } });
    const policy = policyOf({ perUser: { connections: 1, bytesPerSecond: 10, byteBurst: 10 } });
    const ann = limits.admitUser(policy, "ann");
    expect(limits.admitUser(policy, "ann")).toBe(Refusal.Connections);
    expect(limits.admitUser(policy, "bob")).not.toBe(ann);
    expect(limits.spendUser(policy, ann, 20)).toBe(1e9);
    limits.release(ann);
    expect(limits.admitUser(policy, "ann")).toBe(ann);
    expect(admit("192.0.2.1")).toBeGreaterThan(0);
  });
});

describe("memory", () => {
  test("is bounded: clients without connections make room, and a flood shares one limit", () => {
    const { admit, limits } = fixture({ connections: 3 }, {}, 8);
    const address = (one: number): string => `10.0.${one >> 8}.${one & 255}`;
    for (let i = 0; i < 1000; i++) limits.release(admit(address(i)));
    const held = Array.from({ length: 1000 }, (_, i) => admit(address(i))).filter((ticket) => ticket > 0);
    // Seven clients have places, and three more connections share the eighth.
    expect(held.length).toBe(7 + 3);
    expect(new Set(held).size).toBe(8);
    for (const ticket of held) limits.release(ticket);
    for (const ticket of held) expect(limits.open(ticket)).toBe(0);
  });

  test("is shared with whoever attaches", () => {
    const { admit, limits, hal, policy } = fixture({ connections: 1 });
    const other = ClientLimits.attach(limits.handle, { hal });
    const ticket = admit("192.0.2.1");
    const words = new Int32Array(4);
    parseAddress("192.0.2.1", words, 0);
    expect(other.admit(policy, words, 0, false)).toBe(Refusal.Connections);
    other.release(ticket);
    expect(admit("192.0.2.1")).toBe(ticket);
    expect(() => ClientLimits.create({ entries: 7 })).toThrow(
      expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT" }),
    );
  });
});

test("a thread that died with the locks in hand holds up nobody", () => {
  const { admit, limits, policy, hal } = fixture({ connections: 2 });
  const dead = SpinLocks.attach(limits.handle.locks, { hal });
  hal.cpu = 1;
  for (let lock = 0; lock < dead.count; lock++) dead.lock(lock);
  hal.cpu = 0;
  limits.reportDead(1);
  const ticket = admit("192.0.2.1");
  expect(ticket).toBeGreaterThan(0);
  limits.release(ticket);
  expect([limits.open(ticket), limits.spend(policy, ticket, 1)]).toEqual([0, 0]);
});
