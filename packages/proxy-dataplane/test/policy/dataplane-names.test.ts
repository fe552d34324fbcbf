import { describe, expect, test } from "vitest";
import {
  Dataplane,
  HostNameNode,
  HostNameTable,
  PacketPool,
  PolicyEngine,
  proxyConfigCell,
  ServerHealth,
  type DataplaneJoin,
  type ProxyConfig,
} from "@x/proxy-dataplane";
import { Rcu } from "@x/rcu";
import { ethernet, ipv4, tcp, tcp4, tcp6, udp4 } from "../frames.ts";
import { configOf, server, testHal, type TestHal } from "../machine.ts";
import { ACK, ends, SYN } from "../traffic.ts";
import { ascii, dnsMessage, hello, records } from "./hellos.ts";

interface Fixture {
  readonly hal: TestHal;
  readonly dataplane: Dataplane;
  readonly engine: PolicyEngine;
  readonly send: (...frames: Uint8Array[]) => string[];
}

function fixture(initial: ProxyConfig, describeFlow?: DataplaneJoin["describeFlow"]): Fixture {
  const hal = testHal();
  const rcu = Rcu.create({ hal });
  rcu.online();
  const pool = PacketPool.create({ buffers: 256, hal });
  const names = HostNameTable.create({ hal, entries: 256 });
  const config = proxyConfigCell({ rcu, initial });
  const dataplane = Dataplane.create({
    hal,
    rcu,
    pool,
    config,
    maxConnections: 256,
    nodes: [new HostNameNode({ pool, names })],
    describeFlow:
      describeFlow ??
      ((key, at, facts): void => {
        facts.nameLength = names.find(key, at + 4, (key[at + 9] & 0x100) !== 0, facts.name);
      }),
  });
  const engine = PolicyEngine.attach({ servers: dataplane.handle.servers }, { hal, config });
  return {
    hal,
    dataplane,
    engine,
    send: (...frames) => {
      const out = new Int32Array(frames.length);
      const batch = Int32Array.from(frames, (frame) => {
        const id = pool.alloc();
        pool.write(id, frame, 0, frame.length);
        return id;
      });
      const sent = dataplane.process(batch, frames.length, out);
      const result = Array.from(out.subarray(0, sent), (id) => {
        const from = pool.columns.offsets[id];
        return ends(pool.bytes.slice(from, from + pool.columns.lengths[id])).split(" ")[3];
      });
      for (const id of out.subarray(0, sent)) pool.free(id);
      expect(pool.inUse).toBe(0);
      return result;
    },
  };
}

const byName = configOf([server("192.0.2.1")], {
  rules: [{ action: "drop", hosts: ["*.ads.test"] }, { action: "proxy", hosts: ["*"] }, { action: "direct" }],
});

const to = (host: number, more: object = {}, payload?: Uint8Array): Uint8Array =>
  tcp4({ destination: [10, 0, 0, host], ...more }, payload);

describe("names of destinations", () => {
  test("are learnt from an answer of DNS, and rules hold for flows to its addresses", () => {
    const { send } = fixture(byName);
    expect(send(to(7, { flags: SYN }))).toEqual(["10.0.0.7"]);
    const answer = dnsMessage("x.ads.test", [
      { owner: 12, type: 1, ttl: 100, data: [10, 0, 0, 8] },
      { owner: 12, type: 1, ttl: 100, data: [10, 0, 0, 7] },
    ]);
    send(udp4({ sourcePort: 53 }, answer));
    expect(send(to(8, { flags: SYN }))).toEqual([]);
    // The flow from before the answer lives on.
    expect(send(to(7, { flags: ACK }))).toEqual(["10.0.0.7"]);
    expect(send(to(7, { flags: SYN, sourcePort: 1001 }))).toEqual([]);
    send(udp4({ sourcePort: 54 }, dnsMessage("x.ads.test", [{ owner: 12, type: 1, ttl: 9, data: [10, 0, 0, 9] }])));
    expect(send(to(9, { flags: SYN }))).toEqual(["10.0.0.9"]);
  });

  test("are learnt from greetings, in one segment or in several, of either family", () => {
    const { send } = fixture(byName);
    send(to(5, { flags: ACK }, ascii("GET / HTTP/1.1\r\nHost: www.test\r\n\r\n")));
    expect(send(to(5, { flags: SYN, sourcePort: 1001 }))).toEqual(["192.0.2.1"]);
    const bytes = records(hello({ name: "x.ads.test" }));
    send(to(6, { flags: ACK, sequence: 100 }, bytes.subarray(0, 20)));
    send(
      to(6, { flags: ACK, sequence: 120 }, bytes.subarray(20, 60)),
      to(6, { flags: ACK, sequence: 160 }, bytes.subarray(60)),
    );
    expect(send(to(6, { flags: SYN, sourcePort: 1001 }))).toEqual([]);
    send(tcp6({ flags: ACK }, bytes));
    expect(send(tcp6({ flags: SYN, sourcePort: 1001 }))).toEqual([]);
  });

  test("are not learnt from segments out of order, nor from what is no greeting", () => {
    const { send } = fixture(byName);
    const bytes = records(hello({ name: "x.ads.test" }));
    send(
      to(6, { flags: ACK, sequence: 100 }, bytes.subarray(0, 20)),
      to(6, { flags: ACK, sequence: 150 }, bytes.subarray(20)),
    );
    send(to(6, { flags: ACK, sequence: 1 }, ascii("get / HTTP/1.1\r\nHost: www.test\r\n\r\n")));
    expect(send(to(6, { flags: SYN, sourcePort: 1001 }))).toEqual(["10.0.0.6"]);
    const fragment = ethernet(0x800, ipv4(6, tcp(bytes).subarray(0, 64), { fragment: 0x2000 }));
    expect(send(fragment).length).toBe(1);
  });
});

describe("facts of the host", () => {
  test("decide by process and user, once for each flow, and say nothing of the next", () => {
    const rules: ProxyConfig["rules"] = [
      { action: "drop", process: { comm: ["worm"] } },
      { action: "direct", users: ["ann"] },
    ];
    let asked = 0;
    const { send } = fixture(configOf([server("192.0.2.1")], { rules }), (key, at, facts) => {
      asked++;
      const port = key[at + 8] >>> 16;
      if (port === 2001) facts.process = { comm: "worm" };
      if (port === 2002) facts.user = "ann";
    });
    const from = (sourcePort: number): string[] => send(tcp4({ sourcePort, flags: SYN }));
    expect([from(2001), from(2002), from(2003), from(2003)]).toEqual([[], ["10.0.0.2"], ["192.0.2.1"], ["192.0.2.1"]]);
    expect(asked).toBe(3);
  });
});

describe("servers", () => {
  test("are counted by their open connections, and health that is fed in from outside holds for the next flow", () => {
    const { send, engine, dataplane, hal } = fixture(
      configOf([server("192.0.2.1"), server("192.0.2.2")], { selection: "least-connections" }),
    );
    const flow = (sourcePort: number): string => send(tcp4({ sourcePort, flags: SYN }))[0];
    const first = [flow(1), flow(2), flow(3), flow(4)];
    expect(first.filter((one) => one === "192.0.2.1").length).toBe(2);
    expect([engine.openConnections(0), engine.openConnections(1)]).toEqual([2, 2]);
    engine.setHealth(0, ServerHealth.Draining);
    expect([flow(5), flow(6)]).toEqual(["192.0.2.2", "192.0.2.2"]);
    expect([flow(1), flow(2), flow(3), flow(4)]).toEqual(first);
    engine.setHealth(0, ServerHealth.Up);
    expect(flow(7)).toBe("192.0.2.1");
    expect(flow(8)).toBe("192.0.2.1");
    hal.nowNs += 8000e9;
    expect(dataplane.expire()).toBe(8);
    expect([engine.openConnections(0), engine.openConnections(1)]).toEqual([0, 0]);
  });
});
