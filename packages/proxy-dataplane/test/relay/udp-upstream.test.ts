import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { ProxyConfig, ProxyServer } from "../../src/index.ts";
import type { RelayConfig } from "../../src/relay/config.ts";
import { engines } from "./engines.ts";
import { client, listen, take, until } from "./peers.ts";
import { relayOnThread, type RelayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

interface Bound {
  readonly socket: UdpSocket;
  readonly port: number;
  readonly got: Buffer[];
  readonly texts: () => string[];
}

/** A bound socket of the test, and what has come to it. */
async function bound(answer?: (text: string) => string): Promise<Bound> {
  const socket = createSocket("udp4");
  const got: Buffer[] = [];
  socket.on("message", (message, from) => {
    got.push(message);
    if (answer !== undefined) socket.send(answer(message.toString()), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  cleanups.push(() => socket.close());
  return { socket, port: socket.address().port, got, texts: () => got.map((each) => each.toString()) };
}

/** A port where nobody listens. */
async function nobodyAt(): Promise<number> {
  const gone = await listen(() => undefined);
  await gone.close();
  return gone.port;
}

const targets = { allow: ["127.0.0.1"] };
const socks = (port: number, more: Partial<ProxyServer> = {}): ProxyServer => ({
  type: "socks5",
  address: "127.0.0.1",
  port,
  ...more,
});

describe.each(engines)("%s engine: datagrams by way of a SOCKS5 server", (_name, make) => {
  async function start(config: Omit<RelayConfig, "version">): Promise<RelayOnThread> {
    const relay = await relayOnThread({ version: 1, ...config }, make());
    cleanups.push(relay.close);
    return relay;
  }

  /** What a relay is asked through, with no server behind it. */
  const server = (more: Partial<RelayConfig> = {}): Promise<RelayOnThread> =>
    start({ listeners: [{ kind: "mixed", listen: "127.0.0.1:0" }], targets, ...more });

  const policyOf = (servers: readonly ProxyServer[], more: Partial<ProxyConfig> = {}): ProxyConfig => ({
    version: 1,
    selection: "failover",
    bypassClasses: [],
    servers,
    ...more,
  });

  const forwardTo = (target: string, policy: ProxyConfig, more: Partial<RelayConfig> = {}): Promise<RelayOnThread> =>
    start({ listeners: [{ kind: "udp", listen: "127.0.0.1:0", target }], policy, ...more });

  test("each client of a listener has an association, that ends with its flow", async () => {
    const far = await server();
    const echo = await bound((text) => `${text}!`);
    const target = `localhost:${echo.port}`;
    const near = await forwardTo(target, policyOf([socks(far.ports[0])]));
    const clients = await Promise.all([bound(), bound(), bound()]);
    for (let round = 0; round < 3; round++) {
      clients.forEach(({ socket }, index) => socket.send(`${index} ${round}`, near.ports[0], "127.0.0.1"));
      await until(() => clients.every(({ got }) => got.length === round + 1));
    }
    clients.forEach(({ texts }, index) => expect(texts()).toEqual([`${index} 0!`, `${index} 1!`, `${index} 2!`]));
    expect([far.core.size, near.policy.openConnections(0)]).toEqual([3, 3]);
    const listed: unknown[] = [];
    near.core.table.list(({ target: to, upstream }) => listed.push([to, upstream]));
    expect(listed).toEqual(Array.from({ length: 3 }, () => [target, `socks5://127.0.0.1:${far.ports[0]}`]));
    near.core.killAll("killed");
    await until(() => far.core.size === 0);
    expect([near.core.size, near.core.table.size, near.policy.openConnections(0)]).toEqual([0, 0, 0]);
    expect(near.counters()).toMatchObject({ udpFlows: 3, udpDatagramsOut: 9, udpDropped: 0, clientBytes: 27 });
    expect(far.counters()).toMatchObject({ udpFlows: 3, udpDatagramsOut: 9, udpDropped: 0 });
  });

  test("servers that are gone, are not let in, or know no UDP are passed over", async () => {
    const far = await server({ users: { joe: "secret" } });
    const knowsNone = await listen(async (socket) => {
      await take(socket, 3);
      socket.write(Buffer.from([5, 0]));
      await take(socket, 10);
      socket.end(Buffer.from([5, 7, 0, 1, 0, 0, 0, 0, 0, 0]));
    });
    cleanups.push(knowsNone.close);
    const echo = await bound((text) => text);
    const servers = [
      socks(await nobodyAt(), { name: "gone" }),
      { ...socks(far.ports[0], { name: "http" }), type: "http" } as const,
      socks(knowsNone.port, { name: "no UDP" }),
      socks(far.ports[0], { name: "wrong", username: "joe", password: "guess" }),
      socks(far.ports[0], { name: "right", username: "joe", password: "secret" }),
    ].map((each, priority) => ({ ...each, priority }));
    const near = await forwardTo(`127.0.0.1:${echo.port}`, policyOf(servers), { retries: 8 });
    const mine = await bound();
    mine.socket.send("at last", near.ports[0], "127.0.0.1");
    await until(() => mine.got.length === 1);
    expect(near.counters()).toMatchObject({ retries: 3, failed: 0, udpDropped: 0 });
    expect(servers.map(({ name }) => near.policy.openConnections(name ?? ""))).toEqual([0, 0, 0, 0, 1]);
  });

  test("where no server can be asked the flow ends, and the next datagram asks again", async () => {
    const near = await forwardTo("127.0.0.1:9", policyOf([socks(await nobodyAt())]), {
      health: { passiveFailures: 0 },
    });
    const mine = await bound();
    for (const round of [1, 2]) {
      mine.socket.send("x", near.ports[0], "127.0.0.1");
      await until(() => near.outcomes.length === round);
    }
    expect([near.outcomes, near.core.size, near.policy.openConnections(0)]).toEqual([["refused", "refused"], 0, 0]);
    expect(near.counters()).toMatchObject({ udpDropped: 2, failed: 2 });
  });

  test("an association that its server ends is made anew for the next datagram", async () => {
    const far = await server();
    const echo = await bound((text) => text);
    const near = await forwardTo(`127.0.0.1:${echo.port}`, policyOf([socks(far.ports[0])]));
    const mine = await bound();
    mine.socket.send("before", near.ports[0], "127.0.0.1");
    await until(() => mine.got.length === 1);
    far.core.killAll("killed");
    await until(() => near.core.size === 0);
    expect(near.outcomes).toEqual(["server-gone"]);
    mine.socket.send("after", near.ports[0], "127.0.0.1");
    await until(() => mine.got.length === 2);
    expect(mine.texts()).toEqual(["before", "after"]);
  });

  test("a server that says nothing is waited for no longer than told, and what waits is bounded", async () => {
    const silent = await listen((socket) => socket.resume());
    cleanups.push(silent.close);
    const near = await forwardTo("127.0.0.1:9", policyOf([socks(silent.port)]), { timeouts: { upstreamMs: 300 } });
    const mine = await bound();
    for (let i = 0; i < 20; i++) mine.socket.send("x", near.ports[0], "127.0.0.1");
    await until(() => near.counters().udpDatagramsIn === 20 && near.counters().udpDropped >= 4);
    await until(() => near.core.size === 0);
    expect(near.outcomes[0]).toBe("upstream-timeout");
    expect(near.counters().udpDropped).toBe(20);
    await until(() => [...silent.sockets].every((socket) => socket.readableEnded));
  });

  test("answers come from the target alone, and only from the server", async () => {
    const control: Socket[] = [];
    const relayed = await bound();
    const fake = await listen(async (socket) => {
      control.push(socket);
      await take(socket, 3);
      socket.write(Buffer.from([5, 0]));
      await take(socket, 10);
      // An address that is none: the server is where it was asked.
      socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, relayed.port >> 8, relayed.port & 255]));
    });
    cleanups.push(fake.close);
    const near = await forwardTo("192.0.2.1:53", policyOf([socks(fake.port)]));
    const mine = await bound();
    let from = 0;
    relayed.socket.on("message", (_message, { port }) => (from = port));
    mine.socket.send("question", near.ports[0], "127.0.0.1");
    await until(() => relayed.got.length === 1);
    const head = [0, 0, 0, 1, 192, 0, 2, 1, 0, 53];
    expect([...relayed.got[0]]).toEqual([...head, ...Buffer.from("question")]);
    const stranger = await bound();
    stranger.socket.send(Buffer.from([...head, ...Buffer.from("forged")]), from, "127.0.0.1");
    for (const [at, value] of [
      [2, 1], // a fragment
      [4, 193], // another's address
      [9, 54], // another port
      [3, 9], // no kind of address
    ]) {
      relayed.socket.send(Buffer.from(head.with(at, value)), from, "127.0.0.1");
    }
    await until(() => near.counters().udpDropped === 4);
    relayed.socket.send(Buffer.from([...head, ...Buffer.from("answer")]), from, "127.0.0.1");
    await until(() => mine.got.length > 0);
    expect(mine.texts()).toEqual(["answer"]);
  });

  test("clients of UDP ASSOCIATE go by the rules, target by target; names are the server's to look up", async () => {
    const lookups: string[] = [];
    const far = await relayOnThread(
      { version: 1, listeners: [{ kind: "mixed", listen: "127.0.0.1:0" }], targets },
      make(),
      {
        lookup: (host, callback) => {
          lookups.push(host);
          callback([{ family: 4, host: "127.0.0.1" }], "");
        },
      },
    );
    cleanups.push(far.close);
    const [direct, proxied] = [await bound((text) => `direct ${text}`), await bound((text) => `proxied ${text}`)];
    const policy = policyOf([socks(far.ports[0])], {
      rules: [
        { action: "direct", ports: [direct.port] },
        { action: "reject", ports: [9] },
      ],
    });
    const near = await start({ listeners: [{ kind: "socks", listen: "127.0.0.1:0" }], targets, policy });
    const control = client(near.ports[0]);
    control.write(Buffer.from([5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
    const relayAt = (await take(control, 12)).readUInt16BE(10);
    const mine = await bound();
    const ask = (address: readonly number[], port: number, text: string): void =>
      mine.socket.send(
        Buffer.from([0, 0, 0, ...address, port >> 8, port & 255, ...Buffer.from(text)]),
        relayAt,
        "127.0.0.1",
      );
    const loopback = [1, 127, 0, 0, 1];
    const name = [3, 11, ...Buffer.from("far.example")];
    const answers = (): string[] => mine.got.map((each) => each.subarray(10).toString());
    ask(loopback, direct.port, "1");
    await until(() => mine.got.length === 1);
    ask(loopback, proxied.port, "2");
    await until(() => mine.got.length === 2);
    ask(name, proxied.port, "3");
    await until(() => mine.got.length === 3);
    ask(loopback, 9, "refused");
    await until(() => near.counters().udpDropped === 1);
    expect(answers()).toEqual(["direct 1", "proxied 2", "proxied 3"]);
    expect([...mine.got[2].subarray(3, 10)]).toEqual([...loopback, proxied.port >> 8, proxied.port & 255]);
    expect([lookups, near.counters().dnsLookups, far.core.size]).toEqual([["far.example"], 0, 1]);
    expect(near.policy.openConnections(0)).toBe(1);
    control.end();
    await until(() => near.core.size === 0 && far.core.size === 0);
    expect(near.policy.openConnections(0)).toBe(0);
  });
});
