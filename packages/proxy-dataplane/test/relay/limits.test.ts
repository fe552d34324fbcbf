import { afterEach, describe, expect, test } from "vitest";
import type { ProxyConfig } from "../../src/index.ts";
import type { RelayConfig } from "../../src/relay/config.ts";
import { proxyHeader } from "../../src/relay/proxy-protocol-write.ts";
import { engines } from "./engines.ts";
import { client, digest, drain, listen, patterned, take, until, type Peer } from "./peers.ts";
import { relayOnThread, type RelayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const direct: ProxyConfig = { version: 1, selection: "failover", servers: [], defaultAction: "direct" };

describe.each(engines)("%s engine: limits of clients and users", (_name, make) => {
  async function start(config: Partial<RelayConfig>): Promise<{ relay: RelayOnThread; echo: Peer; port: number }> {
    const echo = await listen((socket) => socket.pipe(socket));
    const listeners = [{ kind: "mixed", listen: "127.0.0.1:0" }] as const;
    const relay = await relayOnThread(
      { version: 1, listeners, targets: { allow: ["127.0.0.0/8"] }, ...config },
      make(),
    );
    cleanups.push(echo.close, relay.close);
    return { relay, echo, port: relay.ports[0] };
  }

  /** The status of a CONNECT, `closed` where there was none; the connection stays. */
  async function open(port: number, target: number, headers = "", before: Uint8Array = Buffer.alloc(0)) {
    const socket = client(port);
    socket.write(before);
    socket.write(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\n${headers}\r\n`);
    const status = await take(socket, 12).then(
      (bytes) => bytes.toString().slice(9),
      () => "closed",
    );
    cleanups.push(async () => void socket.destroy());
    return { socket, status };
  }

  test("a client has so many connections and no more, and may open another when one has ended", async () => {
    const { relay, echo, port } = await start({ limits: { connectionsPerClient: 2 } });
    const first = await open(port, echo.port);
    const rest = [await open(port, echo.port), await open(port, echo.port)];
    expect([first, ...rest].map(({ status }) => status)).toEqual(["200", "200", "closed"]);
    expect(relay.counters().overLimit).toBe(1);
    first.socket.destroy();
    await until(() => relay.core.size === 1);
    expect((await open(port, echo.port)).status).toBe("200");
    expect(relay.counters().accepted - relay.counters().closed).toBe(2);
  });

  test("new connections a second: a burst, then one when the bucket has refilled", async () => {
    const limits = { perClient: { connectionsPerSecond: 5, connectionBurst: 2 } };
    const { relay, echo, port } = await start({ policy: { ...direct, limits } });
    const statuses: string[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await open(port, echo.port)).status);
    expect(statuses.slice(0, 2)).toEqual(["200", "200"]);
    expect(statuses).toContain("closed");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await open(port, echo.port)).status).toBe("200");
    expect(relay.counters().overLimit).toBe(statuses.filter((status) => status === "closed").length);
  });

  test("users have limits of their own, and are told", async () => {
    const limits = { perUser: { connections: 1 } };
    const { relay, echo, port } = await start({ policy: { ...direct, limits }, users: { joe: "a", ann: "b" } });
    const as = (name: string, password: string): string =>
      `Proxy-Authorization: Basic ${Buffer.from(`${name}:${password}`).toString("base64")}\r\n`;
    expect((await open(port, echo.port, as("joe", "a"))).status).toBe("200");
    expect((await open(port, echo.port, as("joe", "a"))).status).toBe("429");
    const ann = await open(port, echo.port, as("ann", "b"));
    expect(ann.status).toBe("200");
    expect((await open(port, echo.port, as("ann", "b"))).status).toBe("429");
    ann.socket.destroy();
    await until(() => relay.outcomes.includes("client-reset") || relay.outcomes.includes(""));
    expect((await open(port, echo.port, as("ann", "b"))).status).toBe("200");
    expect(relay.counters().overLimit).toBe(2);
  });

  test("behind another proxy it is the client's address that counts, not that proxy's", async () => {
    const listeners = [{ kind: "mixed", listen: "127.0.0.1:0", acceptProxyProtocol: true }] as const;
    const { echo, port } = await start({ listeners, limits: { connectionsPerClient: 1 } });
    const from = (host: string): Uint8Array =>
      proxyHeader({
        version: 2,
        source: { family: 4, host, port: 1 },
        destination: { family: 4, host: "192.0.2.9", port: 443 },
      });
    expect((await open(port, echo.port, "", from("192.0.2.1"))).status).toBe("200");
    expect((await open(port, echo.port, "", from("192.0.2.1"))).status).toBe("closed");
    expect((await open(port, echo.port, "", from("192.0.2.2"))).status).toBe("200");
  });

  test("bytes a second: the stream takes its time, and nothing of it is lost", async () => {
    const limits = { perClient: { bytesPerSecond: 400_000, byteBurst: 100_000 } };
    const { relay, echo, port } = await start({ policy: { ...direct, limits } });
    const { socket, status } = await open(port, echo.port);
    expect(status).toBe("200");
    await take(socket, "HTTP/1.1 200 Connection established\r\n\r\n".length - 12);
    const sent = patterned(150_000, 3);
    const startMs = performance.now();
    socket.end(sent);
    const { bytes, error } = await drain(socket);
    expect([error, digest(bytes)]).toEqual(["", digest(sent)]);
    // 300 000 bytes both ways, 100 000 at once, the rest at 400 000 a second: half a second, less what was under way.
    expect(performance.now() - startMs).toBeGreaterThan(150);
    await until(() => relay.core.size === 0);
    expect(relay.outcomes).toEqual([""]);
  });
});
