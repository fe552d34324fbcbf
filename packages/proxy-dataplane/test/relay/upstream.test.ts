import { afterEach, describe, expect, test } from "vitest";
import type { ProxyConfig, ProxyServer } from "../../src/index.ts";
import type { RelayConfig } from "../../src/relay/config.ts";
import { validateRelayConfig } from "../../src/relay/config-validate.ts";
import { engines } from "./engines.ts";
import { client, digest, drain, listen, patterned, take, until, type Peer } from "./peers.ts";
import { relayOnThread, type RelayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Everything here is on the loopback address, which a policy leaves alone by itself. */
const base = { version: 1, selection: "failover", bypassClasses: [] } as const;

describe.each(engines)("%s engine: upstream servers", (_name, make) => {
  async function relay(config: Partial<RelayConfig>): Promise<RelayOnThread> {
    const listeners = [{ kind: "mixed", listen: "127.0.0.1:0" }] as const;
    const started = await relayOnThread(
      { version: 1, listeners, targets: { allow: ["127.0.0.1"] }, ...config },
      make(),
    );
    cleanups.push(started.close);
    return started;
  }

  async function echo(): Promise<Peer> {
    const peer = await listen((socket) => socket.pipe(socket));
    cleanups.push(peer.close);
    return peer;
  }

  const through = (policy: Omit<ProxyConfig, "version" | "selection">, more: Partial<RelayConfig> = {}) =>
    relay({ policy: { ...base, ...policy }, ...more });

  /** The first line of the answer to CONNECT, and what came back of `text`. */
  async function ask(port: number, target: string, text = ""): Promise<string> {
    const socket = client(port);
    socket.end(`CONNECT ${target} HTTP/1.1\r\n\r\n${text}`);
    const { bytes } = await drain(socket);
    const [head, body] = bytes.toString().split("\r\n\r\n");
    return `${head.split(" ")[1]} ${body.trim()}`;
  }

  test.each(["socks4", "socks5", "http"] as const)("through a %s server, content and all", async (type) => {
    const far = await relay({});
    const server: ProxyServer = { type, address: "127.0.0.1", port: far.ports[0] };
    const near = await through({ servers: [server] });
    const target = await echo();
    expect(await ask(near.ports[0], `127.0.0.1:${target.port}`, "hello")).toBe("200 hello");
    expect(await ask(near.ports[0], `localhost:${target.port}`, "by name")).toBe("200 by name");
    const socket = client(near.ports[0]);
    socket.write(`CONNECT 127.0.0.1:${target.port} HTTP/1.1\r\n\r\n`);
    await take(socket, "HTTP/1.1 200 Connection established\r\n\r\n".length);
    const sent = patterned(1_000_000, 7);
    socket.end(sent);
    expect(digest((await drain(socket)).bytes)).toBe(digest(sent));
    await until(() => near.core.size === 0 && far.core.size === 0);
    expect([near.outcomes, far.outcomes]).toEqual([
      ["", "", ""],
      ["", "", ""],
    ]);
    expect(near.policy.openConnections(0)).toBe(0);
  });

  test("with user and password, and with a wrong one", async () => {
    const far = await relay({ users: { joe: "secret" } });
    const target = await echo();
    for (const type of ["socks5", "http"] as const) {
      const server: ProxyServer = {
        type,
        address: "127.0.0.1",
        port: far.ports[0],
        username: "joe",
        password: "secret",
      };
      const right = await through({ servers: [server] });
      expect(await ask(right.ports[0], `127.0.0.1:${target.port}`, "in")).toBe("200 in");
      const wrong = await through({ servers: [{ ...server, password: "guess" }] });
      expect(await ask(wrong.ports[0], `127.0.0.1:${target.port}`)).toBe("502 upstream-authentication");
    }
  });

  test("through a chain of three, of three kinds", async () => {
    const hops = [await relay({}), await relay({}), await relay({})];
    const servers: ProxyServer[] = (["socks5", "http", "socks4"] as const).map((type, index) => ({
      name: `hop${index}`,
      type,
      address: "127.0.0.1",
      port: hops[index].ports[0],
      active: index === 2,
    }));
    const near = await through({ servers }, { chains: { hop2: ["hop0", "hop1"] } });
    const target = await echo();
    expect(await ask(near.ports[0], `localhost:${target.port}`, "far away")).toBe("200 far away");
    await until(() => hops.every(({ outcomes }) => outcomes.length === 1));
    expect(hops.map(({ core }) => core.size)).toEqual([0, 0, 0]);
  });

  test("a server that is not there is passed over, and after some failures not asked any more", async () => {
    const gone = await listen(() => undefined);
    await gone.close();
    const far = await relay({});
    const target = await echo();
    const servers: ProxyServer[] = [
      { name: "gone", type: "socks5", address: "127.0.0.1", port: gone.port, priority: 1 },
      { name: "there", type: "socks5", address: "127.0.0.1", port: far.ports[0], priority: 2 },
    ];
    const near = await through({ servers }, { health: { passiveFailures: 3 } });
    for (let round = 0; round < 5; round++) {
      expect(await ask(near.ports[0], `127.0.0.1:${target.port}`, `${round}`)).toBe(`200 ${round}`);
    }
    expect(near.counters().retries).toBe(3);
    expect([near.policy.health("gone"), near.policy.health("there")]).toEqual([2, 0]);
  });

  test("a server that answers nonsense, closes, or says nothing is passed over too", async () => {
    const nonsense = await listen((socket) => socket.write("SSH-2.0-x\r\n\r\n"));
    const closing = await listen((socket) => socket.end());
    const silent = await listen((socket) => socket.resume());
    const far = await relay({});
    const target = await echo();
    cleanups.push(nonsense.close, closing.close, silent.close);
    const servers = [nonsense.port, closing.port, silent.port, far.ports[0]].map((port, priority): ProxyServer => ({
      type: "socks5",
      address: "127.0.0.1",
      port,
      priority,
    }));
    const near = await through({ servers }, { retries: 3, timeouts: { upstreamMs: 400 } });
    expect(await ask(near.ports[0], `127.0.0.1:${target.port}`, "at last")).toBe("200 at last");
    expect(near.counters().retries).toBe(3);
    await until(() => silent.sockets.size === 0 || near.core.size === 0);
  });

  test("what a server says of the target is passed on, and not held against the server", async () => {
    const gone = await listen(() => undefined);
    await gone.close();
    const far = await relay({});
    const near = await through(
      { servers: [{ name: "far", type: "socks5", address: "127.0.0.1", port: far.ports[0] }] },
      { health: { passiveFailures: 1 } },
    );
    expect(await ask(near.ports[0], `127.0.0.1:${gone.port}`)).toBe("502 refused");
    expect(await ask(near.ports[0], "10.0.0.1:1")).toBe("403 denied");
    expect(near.policy.health("far")).toBe(0);
  });

  test("rules decide by name, port and user: reject, drop, direct, a group", async () => {
    const far = await relay({});
    const target = await echo();
    const near = await through({
      servers: [{ type: "socks5", address: "127.0.0.1", port: far.ports[0], groups: ["far"] }],
      defaultAction: "direct",
      rules: [
        { action: "reject", hosts: ["*.blocked.example"] },
        { action: "drop", ports: [9] },
        { action: "proxy", group: "far", hosts: ["localhost"] },
      ],
    });
    expect(await ask(near.ports[0], "www.blocked.example:80")).toBe("403 denied");
    const dropped = client(near.ports[0]);
    dropped.write("CONNECT 127.0.0.1:9 HTTP/1.1\r\n\r\n");
    expect((await drain(dropped)).bytes.length).toBe(0);
    expect(await ask(near.ports[0], `127.0.0.1:${target.port}`, "direct")).toBe("200 direct");
    expect(far.counters().accepted).toBe(0);
    expect(await ask(near.ports[0], `localhost:${target.port}`, "proxied")).toBe("200 proxied");
    expect(far.counters().accepted).toBe(1);
  });

  test("connections through servers are counted, for least connections", async () => {
    const far = await relay({});
    const target = await echo();
    const server: ProxyServer = { name: "far", type: "socks5", address: "127.0.0.1", port: far.ports[0] };
    const near = await through({ servers: [server] });
    const sockets = await Promise.all(
      [1, 2, 3].map(async () => {
        const socket = client(near.ports[0]);
        socket.write(`CONNECT 127.0.0.1:${target.port} HTTP/1.1\r\n\r\n`);
        await take(socket, 12);
        return socket;
      }),
    );
    expect(near.policy.openConnections("far")).toBe(3);
    for (const socket of sockets) socket.resetAndDestroy();
    await until(() => near.core.size === 0);
    expect(near.policy.openConnections("far")).toBe(0);
  });
});

test.each([
  ["/policy/servers/0/type", { policy: { ...base, servers: [{ type: "https", address: "192.0.2.1", port: 1 }] } }],
  ["/policy/rules/0/action", { policy: { ...base, servers: [], rules: [{ action: "allow" }] } }],
  ["/chains/x", { chains: { x: [] } }],
  ["/retries", { retries: 17 }],
])("a configuration that is wrong at %s is refused", (path, more) => {
  const config = { version: 1, listeners: [{ kind: "mixed", listen: "1" }], ...more };
  expect(() => validateRelayConfig(config as never)).toThrow(expect.objectContaining({ location: { path } }));
});
