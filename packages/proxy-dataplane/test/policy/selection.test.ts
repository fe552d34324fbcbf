import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  PolicyEngine,
  proxyConfigCell,
  ServerHealth,
  type ProxyConfig,
  type ProxyServer,
  type ServerSelection,
} from "@x/proxy-dataplane";
import { Rcu } from "@x/rcu";
import type { RcuCell } from "@x/rcu";

const serverAt = (last: number, more: Partial<ProxyServer> = {}): ProxyServer => ({
  type: "socks5",
  address: `192.0.2.${last}`,
  port: 1080,
  ...more,
});
const servers = (count: number, more: (at: number) => Partial<ProxyServer> = () => ({})): ProxyServer[] =>
  Array.from({ length: count }, (_, at) => serverAt(at + 1, more(at)));

interface Fixture {
  readonly engine: PolicyEngine;
  readonly cell: RcuCell<ProxyConfig>;
  /** The server of a flow from the client `client`, by its last octet; 0: none. */
  readonly choose: (client: number, port?: number) => number;
  readonly update: (config: Partial<ProxyConfig>) => void;
}

function fixture(selection: ServerSelection, list: readonly ProxyServer[], more: Partial<ProxyConfig> = {}): Fixture {
  const rcu = Rcu.create();
  const initial: ProxyConfig = { version: 1, selection, servers: list, ...more };
  const cell = proxyConfigCell({ rcu, initial });
  const engine = PolicyEngine.create({ config: cell, seed: 3 });
  const key = new Int32Array(10);
  return {
    engine,
    cell,
    choose: (client, port = 443) => {
      key[0] = client;
      key[4] = 0x01020304;
      key[8] = (4000 << 16) | port;
      key[9] = 6;
      const policy = engine.current();
      const server = engine.choose(policy, 0, key, 0, 4);
      return server < 0 ? 0 : Number(policy.config.servers[server].address.split(".")[3]);
    },
    update: (config) => {
      cell.update({ ...initial, ...config });
      rcu.quiescent();
    },
  };
}

const times = <T>(count: number, one: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => one(at));
function counts(chosen: readonly number[]): Record<number, number> {
  const found: Record<number, number> = {};
  for (const one of chosen) found[one] = (found[one] ?? 0) + 1;
  return found;
}

describe("selection", () => {
  test("round-robin takes turns, and leaves out what is not healthy at once", () => {
    const { choose, engine } = fixture("round-robin", servers(3));
    expect(times(4, choose)).toEqual([1, 2, 3, 1]);
    engine.setHealth(1, ServerHealth.Down);
    expect(new Set(times(6, choose))).toEqual(new Set([1, 3]));
    engine.setHealth("socks5://192.0.2.1:1080", ServerHealth.Draining);
    expect(new Set(times(6, choose))).toEqual(new Set([3]));
    engine.setHealth(2, ServerHealth.Down);
    expect(choose(1)).toBe(0);
    engine.setHealth(1, ServerHealth.Up);
    expect(choose(1)).toBe(2);
    expect(() => engine.setHealth("nobody", ServerHealth.Up)).toThrow(
      expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT" }),
    );
  });

  test("failover takes the lowest priority number, the first of equals, and goes down the list as servers fail", () => {
    const priorities = [5, 3, 3, 9];
    const { choose, engine } = fixture(
      "failover",
      servers(4, (at) => ({ priority: priorities[at] })),
    );
    const order: number[] = [];
    for (let one = choose(1); one !== 0; one = choose(1)) {
      order.push(one);
      engine.setHealth(one - 1, ServerHealth.Down);
    }
    expect(order).toEqual([2, 3, 1, 4]);
    const first = fixture(
      "failover",
      servers(3, (at) => ({ priority: at })),
    );
    expect(times(3, first.choose)).toEqual([1, 1, 1]);
  });

  test("weighted takes each server as often as its weight says in every period, spread out", () => {
    const weights = [5, 1, 1];
    const { choose } = fixture(
      "weighted",
      servers(3, (at) => ({ weight: weights[at] })),
    );
    expect(times(7, choose)).toEqual([1, 1, 2, 1, 3, 1, 1]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }), (some) => {
        const f = fixture(
          "weighted",
          servers(some.length, (at) => ({ weight: some[at] })),
        );
        const period = some.reduce((sum, weight) => sum + weight, 0);
        expect(counts(times(period, f.choose))).toEqual(Object.fromEntries(some.map((weight, at) => [at + 1, weight])));
      }),
      { numRuns: 50 },
    );
  });

  test("weighted keeps the shares of those that are left when one is down", () => {
    const { choose, engine } = fixture(
      "weighted",
      servers(3, (at) => ({ weight: [4, 2, 1][at] })),
    );
    engine.setHealth(0, ServerHealth.Down);
    expect(counts(times(30, choose))).toEqual({ 2: 20, 3: 10 });
  });

  test("random and weighted-random reach their shares", () => {
    const shares = (selection: ServerSelection): number[] => {
      const { choose } = fixture(
        selection,
        servers(3, (at) => ({ weight: [8, 4, 4][at] })),
      );
      const found = counts(times(8000, choose));
      return [1, 2, 3].map((one) => Math.round((found[one] / 8000) * 20) / 20);
    };
    expect(shares("random")).toEqual([0.35, 0.35, 0.35]);
    expect(shares("weighted-random")).toEqual([0.5, 0.25, 0.25]);
  });

  test("least-connections goes by open connections for each part of weight, equals in turn", () => {
    const { choose, engine } = fixture(
      "least-connections",
      servers(3, (at) => ({ weight: [2, 1, 1][at] })),
    );
    const open = (client: number): number => {
      const one = choose(client);
      engine.opened(engine.slotOf(engine.current(), one - 1));
      return one;
    };
    expect(counts(times(40, open))).toEqual({ 1: 20, 2: 10, 3: 10 });
    expect([0, 1, 2].map((at) => engine.openConnections(at))).toEqual([20, 10, 10]);
    for (let i = 0; i < 5; i++) engine.closed(engine.slotOf(engine.current(), 2));
    expect(times(5, open)).toEqual([3, 3, 3, 3, 3]);
    const even = fixture("least-connections", servers(3));
    expect(new Set(times(3, even.choose)).size).toBe(3);
  });

  test("source-hash is the same for all flows of a client, maglev for all packets of a flow", () => {
    const bySource = fixture("source-hash", servers(5));
    expect(new Set(times(20, (port) => bySource.choose(77, port))).size).toBe(1);
    expect(new Set(times(200, bySource.choose)).size).toBe(5);
    const byFlow = fixture("maglev", servers(5));
    expect(new Set(times(20, () => byFlow.choose(77))).size).toBe(1);
    expect(new Set(times(200, (port) => byFlow.choose(77, port))).size).toBe(5);
  });

  test("groups have their members and their own selection and turns", () => {
    const list = [serverAt(1, { groups: ["a"] }), serverAt(2, { groups: ["a", "b"] }), serverAt(3, { groups: ["b"] })];
    const { engine } = fixture("round-robin", list, { groups: { b: { selection: "failover" } } });
    const key = new Int32Array(10);
    const from = (group: number): number => engine.choose(engine.current(), group, key, 0, 4) + 1;
    expect([from(1), from(0), from(1), from(0), from(1), from(2), from(2), from(0)]).toEqual([1, 1, 2, 2, 1, 2, 2, 3]);
  });

  test("only servers of the family are chosen, host names where any will do", () => {
    const list = [serverAt(1), serverAt(2, { address: "2001:db8::2" }), serverAt(3, { address: "proxy.test" })];
    const { engine } = fixture("round-robin", list);
    const key = new Int32Array(10);
    const chosen = (family: 0 | 4 | 6): Set<number> =>
      new Set(times(6, () => engine.choose(engine.current(), 0, key, 0, family)));
    expect([chosen(4), chosen(6), chosen(0)]).toEqual([new Set([0]), new Set([1]), new Set([0, 1, 2])]);
  });

  test.each<ServerSelection>(["round-robin", "failover", "weighted", "least-connections", "source-hash", "maglev"])(
    "%s gives each of the others once when those tried are left out, then none",
    (selection) => {
      const { engine } = fixture(selection, servers(5));
      const key = new Int32Array(10);
      const tried = new Uint8Array(5);
      const order = times(6, () => {
        const one = engine.choose(engine.current(), 0, key, 0, 4, tried);
        if (one >= 0) tried[one] = 1;
        return one;
      });
      expect(order[5]).toBe(-1);
      expect(new Set(order.slice(0, 5)).size).toBe(5);
    },
  );
});

describe("Maglev", () => {
  const FLOWS = 20000;
  const moved = (before: readonly number[], after: readonly number[]): number =>
    before.filter((one, at) => after[at] !== one).length / before.length;

  test.each([3, 8, 20])("spreads flows evenly over %i servers and moves few when one goes", (count) => {
    const f = fixture("maglev", servers(count));
    const before = times(FLOWS, f.choose);
    const shares = Object.values(counts(before));
    expect(shares.length).toBe(count);
    expect(Math.max(...shares) / (FLOWS / count)).toBeLessThan(1.15);
    expect(Math.min(...shares) / (FLOWS / count)).toBeGreaterThan(0.85);
    f.update({ servers: servers(count).filter((_, at) => at !== 1) });
    const share = moved(before, times(FLOWS, f.choose));
    expect(share).toBeGreaterThan(0.8 / count);
    expect(share).toBeLessThan(1 / count + 0.05);
  });

  test("moves the flows of a server that fails and no other, and they come back with it", () => {
    const f = fixture("maglev", servers(6));
    const before = times(FLOWS, f.choose);
    f.engine.setHealth(2, ServerHealth.Down);
    const during = times(FLOWS, f.choose);
    expect(before.filter((one, at) => one !== 3 && during[at] !== one)).toEqual([]);
    const refuge = counts(during.filter((_, at) => before[at] === 3));
    expect(Object.keys(refuge)).toEqual(["1", "2", "4", "5", "6"]);
    const even = before.filter((one) => one === 3).length / 5;
    for (const share of Object.values(refuge)) expect(share / even).toBeGreaterThan(0.7);
    f.engine.setHealth(2, ServerHealth.Up);
    expect(times(FLOWS, f.choose)).toEqual(before);
  });

  test("follows weights, and does not depend on the order of the configuration", () => {
    const weighted = servers(4, (at) => ({ weight: at + 1 }));
    const f = fixture("maglev", weighted);
    const before = times(FLOWS, f.choose);
    for (const [one, share] of Object.entries(counts(before))) {
      expect(Math.abs(share / FLOWS - Number(one) / 10)).toBeLessThan(0.03);
    }
    f.update({ servers: weighted.toReversed() });
    expect(times(FLOWS, f.choose)).toEqual(before);
  });
});

describe("health and counts", () => {
  test("stay with a server that changes its place, and reach an engine of another thread", () => {
    const f = fixture("failover", servers(3));
    const other = PolicyEngine.attach(f.engine.handle, { config: f.cell });
    other.setHealth(0, ServerHealth.Down);
    other.opened(other.slotOf(other.current(), 0));
    f.update({ servers: servers(3).toReversed() });
    expect([f.engine.health(2), f.engine.openConnections(2)]).toEqual([ServerHealth.Down, 1]);
    expect(f.choose(1)).toBe(3);
    f.engine.setHealth("socks5://192.0.2.3:1080", ServerHealth.Down);
    const key = new Int32Array(10);
    expect(other.choose(other.current(), 0, key, 0, 4)).toBe(1);
  });

  test("slots are found again for servers that come and go, more than there are slots", () => {
    const f = fixture("round-robin", servers(2));
    const kept = f.engine.slotOf(f.engine.current(), 0);
    f.engine.opened(kept);
    for (let round = 0; round < 40; round++) {
      const names = times(60, (at) =>
        serverAt(1, { name: `server ${round * 60 + at}`, address: `10.1.${round}.${at}` }),
      );
      f.update({ servers: names });
      expect(new Set(times(60, () => f.engine.slotOf(f.engine.current(), 3))).size).toBe(1);
    }
    f.update({});
    expect(f.engine.openConnections(0)).toBe(1);
    expect(f.engine.slotOf(f.engine.current(), 0)).toBe(kept);
  });
});
