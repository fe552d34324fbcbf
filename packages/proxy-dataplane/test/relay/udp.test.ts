import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import { sharesUdpPorts } from "../../src/node/net-engine.ts";
import type { RelayConfig } from "../../src/relay/config.ts";
import type { NameLookup } from "../../src/relay/resolver.ts";
import { engines } from "./engines.ts";
import { until } from "./peers.ts";
import { relayOnThread, type RelayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A bound socket of the test, and what has come to it. */
async function udp(answer?: (text: string) => string): Promise<{ socket: UdpSocket; port: number; got: string[] }> {
  const socket = createSocket("udp4");
  const got: string[] = [];
  socket.on("message", (message, from) => {
    got.push(message.toString());
    if (answer !== undefined) socket.send(answer(message.toString()), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  cleanups.push(() => socket.close());
  return { socket, port: socket.address().port, got };
}

describe.each(engines)("%s engine: UDP forward", (_name, make) => {
  async function start(
    target: string,
    config: Partial<RelayConfig> = {},
    lookup?: NameLookup,
  ): Promise<{ relay: RelayOnThread; port: number }> {
    const listeners = [{ kind: "udp", listen: "127.0.0.1:0", target }] as const;
    const replaced = lookup === undefined ? {} : { lookup };
    const relay = await relayOnThread({ version: 1, listeners, ...config }, make(), replaced);
    cleanups.push(relay.close);
    return { relay, port: relay.ports[0] };
  }

  test("each client has a port of its own towards the target, and gets its own answers", async () => {
    const server = createSocket("udp4");
    const sources = new Set<number>();
    server.on("message", (message, from) => {
      sources.add(from.port);
      server.send(`${message.toString()}!`, from.port);
    });
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => server.close());
    const { relay, port } = await start(`127.0.0.1:${server.address().port}`);
    const clients = await Promise.all(Array.from({ length: 5 }, () => udp()));
    for (let round = 0; round < 3; round++) {
      clients.forEach(({ socket }, index) => socket.send(`${index} ${round}`, port, "127.0.0.1"));
      await until(() => clients.every(({ got }) => got.length === round + 1));
    }
    clients.forEach(({ got }, index) => expect(got).toEqual([`${index} 0!`, `${index} 1!`, `${index} 2!`]));
    expect([sources.size, relay.core.size, relay.core.table.size]).toEqual([5, 5, 5]);
    relay.core.publish();
    const states: unknown[] = [];
    relay.core.table.list(({ state, clientBytes, serverBytes, target }) =>
      states.push([state, clientBytes, serverBytes, target]),
    );
    const expected = ["datagrams", 9, 12, `127.0.0.1:${server.address().port}`];
    expect(states).toEqual(Array.from({ length: 5 }, () => expected));
    expect(relay.counters()).toMatchObject({ udpFlows: 5, udpDatagramsIn: 15, udpDatagramsOut: 15, udpDropped: 0 });
  });

  test("a flow ends when nothing has passed for a time, and another begins", async () => {
    const server = await udp((text) => text);
    const { relay, port } = await start(`127.0.0.1:${server.port}`, { timeouts: { udpIdleMs: 150 } });
    const mine = await udp();
    for (let round = 1; round <= 2; round++) {
      mine.socket.send("x", port, "127.0.0.1");
      await until(() => mine.got.length === round);
      await until(() => relay.core.size === 0);
    }
    expect(relay.outcomes).toEqual(["", ""]);
    expect(relay.core.table.size).toBe(0);
    expect(relay.counters()).toMatchObject({ udpFlows: 2, clientBytes: 2, serverBytes: 2 });
  });

  test("datagrams wait while the target's name is looked up, and no more than some", async () => {
    const server = await udp((text) => text);
    let answer: (() => void) | undefined;
    const lookup: NameLookup = (_host, callback) => {
      answer = () => callback([{ family: 4, host: "127.0.0.1" }], "");
    };
    const { relay, port } = await start(`target.test:${server.port}`, {}, lookup);
    const mine = await udp();
    for (let i = 0; i < 20; i++) mine.socket.send(`${i}`, port, "127.0.0.1");
    await until(() => relay.counters().udpDatagramsIn === 20 && answer !== undefined);
    answer?.();
    await until(() => mine.got.length === 16);
    expect(mine.got).toEqual(Array.from({ length: 16 }, (_, index) => `${index}`));
    expect(relay.counters()).toMatchObject({ dnsLookups: 1, udpDropped: 4 });
  });

  test("flows are bounded, in all and for each client; kill ends one", async () => {
    const server = await udp((text) => text);
    const { relay, port } = await start(`127.0.0.1:${server.port}`, { limits: { udpFlows: 3 } });
    const clients = await Promise.all(Array.from({ length: 4 }, () => udp()));
    for (const { socket, got } of clients.slice(0, 3)) {
      socket.send("in", port, "127.0.0.1");
      await until(() => got.length === 1);
    }
    clients[3].socket.send("out", port, "127.0.0.1");
    await until(() => relay.counters().overLimit === 1);
    expect(relay.counters()).toMatchObject({ udpDropped: 1, udpFlows: 3 });
    let victim = { object: 0, id: 0 };
    relay.core.table.list(({ id }, object) => (victim = { object, id }));
    expect(relay.core.kill(victim.object, victim.id)).toBe(true);
    clients[3].socket.send("in now", port, "127.0.0.1");
    await until(() => clients[3].got.length === 1);

    const perClient = await start(`127.0.0.1:${server.port}`, { limits: { connectionsPerClient: 2 } });
    for (const { socket } of clients) socket.send("x", perClient.port, "127.0.0.1");
    await until(() => perClient.relay.counters().udpDatagramsIn === 4);
    expect([perClient.relay.core.size, perClient.relay.counters().overLimit]).toEqual([2, 2]);
  });

  test("rules hold: what they refuse is swallowed and judged once, what they send to servers without UDP goes nowhere", async () => {
    const server = await udp((text) => text);
    const base = { version: 1, selection: "failover", bypassClasses: [] } as const;
    const servers = [{ type: "http", address: "127.0.0.1", port: 1 }] as const;
    for (const policy of [
      { ...base, servers, rules: [{ action: "reject", protocols: ["udp"] }] } as const,
      { ...base, servers, defaultAction: "proxy" } as const,
    ]) {
      const { relay, port } = await start(`127.0.0.1:${server.port}`, { policy, timeouts: { udpIdleMs: 100 } });
      const mine = await udp();
      for (let i = 0; i < 3; i++) mine.socket.send("x", port, "127.0.0.1");
      await until(() => relay.counters().udpDropped === 3 && relay.core.size === 0);
      expect([server.got, relay.outcomes, relay.counters().denied]).toEqual([[], ["denied"], 1]);
    }
    const direct = { ...base, servers, rules: [{ action: "direct", protocols: ["udp"] }] } as const;
    const { port } = await start(`127.0.0.1:${server.port}`, { policy: direct });
    const mine = await udp();
    mine.socket.send("x", port, "127.0.0.1");
    await until(() => mine.got.length === 1);
  });

  test("a client over its bytes a second is not served for a while, and not for ever", async () => {
    const server = await udp();
    const policy = {
      version: 1,
      selection: "failover",
      servers: [],
      defaultAction: "direct",
      limits: { perClient: { bytesPerSecond: 1000, byteBurst: 1000 } },
    } as const;
    const { relay, port } = await start(`127.0.0.1:${server.port}`, { policy });
    const mine = await udp();
    for (let i = 0; i < 10; i++) mine.socket.send(Buffer.alloc(600), port, "127.0.0.1");
    await until(() => relay.counters().udpDatagramsOut + relay.counters().udpDropped === 10);
    expect(relay.counters().udpDropped).toBeGreaterThan(5);
    // 200 bytes of debt are gone after 0.2 s, whatever was dropped meanwhile.
    while (relay.counters().udpDatagramsOut < 4) {
      mine.socket.send("more", port, "127.0.0.1");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
});

test.each([
  ["20.20.2", "linux", false],
  ["22.11.0", "linux", false],
  ["22.12.0", "linux", true],
  ["23.0.0", "linux", false],
  ["23.1.0", "linux", true],
  ["24.0.0", "linux", true],
  ["24.0.0", "win32", false],
])("with Node.js %s on %s UDP ports can be shared: %s", (version, platform, shares) => {
  expect(sharesUdpPorts(version, platform)).toBe(shares);
});
