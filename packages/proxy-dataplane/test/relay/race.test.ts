import { createServer } from "node:net";
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import type { RelayConfig } from "../../src/relay/config.ts";
import { Dialer } from "../../src/relay/dialer.ts";
import type { Endpoint, Engine, RelaySocket, SocketOwner } from "../../src/relay/engine.ts";
import type { NameLookup, ResolvedAddress } from "../../src/relay/resolver.ts";
import { TimerWheel } from "../../src/relay/timer-wheel.ts";
import { engines } from "./engines.ts";
import { client, drain, listen, until } from "./peers.ts";
import { relayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** An engine whose attempts to connect the test decides, and a clock that it turns. */
function race(count: number, delayMs = 250) {
  const attempts: { to: Endpoint; socket: RelaySocket; owner: SocketOwner; isReset: boolean }[] = [];
  const engine = {
    connect(to: Endpoint, owner: SocketOwner): RelaySocket {
      const attempt = { to, owner, isReset: false, socket: {} as RelaySocket };
      attempt.socket = { reset: () => (attempt.isReset = true) } as unknown as RelaySocket;
      attempts.push(attempt);
      return attempt.socket;
    },
  } as unknown as Engine;
  const wheel = new TimerWheel(50);
  const outcome: string[] = [];
  const ends = Array.from({ length: count }, (_, i): Endpoint => ({ family: 4, host: `192.0.2.${i}`, port: 1 }));
  const owner = {
    onDialed: (socket: RelaySocket) =>
      void outcome.push(`connected ${attempts.findIndex((each) => each.socket === socket)}`),
    onDialFailed: (failure: string) => void outcome.push(failure),
  };
  const dialer = new Dialer(engine, wheel, owner, ends, delayMs);
  dialer.start();
  const pass = (ms: number): void => {
    for (let at = 0; at < ms; at += 50) wheel.advance();
  };
  const fail = (index: number, error: string): void => attempts[index].owner.onClose(attempts[index].socket, error);
  const succeed = (index: number): void => attempts[index].owner.onConnect(attempts[index].socket);
  return { attempts, wheel, outcome, pass, fail, succeed, dialer };
}

test("an attempt runs alone for the delay, then the next runs beside it; the first to connect wins, others are closed", () => {
  const { attempts, wheel, outcome, pass, succeed } = race(3);
  pass(200);
  expect(attempts.length).toBe(1);
  pass(100);
  expect(attempts.length).toBe(2);
  succeed(1);
  expect(outcome).toEqual(["connected 1"]);
  expect(attempts.map(({ isReset }) => isReset)).toEqual([true, false]);
  pass(1000);
  expect([attempts.length, wheel.size]).toEqual([2, 0]);
});

test("an attempt that fails does not wait: the next begins at once; the last failure is told when none is left", () => {
  const { attempts, outcome, pass, fail } = race(3);
  fail(0, "ENETUNREACH");
  expect(attempts.length).toBe(2);
  fail(1, "ECONNREFUSED");
  expect([attempts.length, outcome]).toEqual([3, []]);
  fail(2, "EHOSTUNREACH");
  expect(outcome).toEqual(["host-unreachable"]);
  pass(1000);
  expect(attempts.length).toBe(3);
});

test("not more than four attempts at once; one that fails makes room; given up, all are closed and none begins", () => {
  const { attempts, outcome, wheel, pass, fail, dialer } = race(10);
  pass(5000);
  expect(attempts.length).toBe(4);
  fail(1, "ECONNREFUSED");
  expect(attempts.length).toBe(5);
  dialer.cancel();
  pass(5000);
  expect(attempts.length).toBe(5);
  expect(attempts.map(({ isReset }) => isReset)).toEqual([true, false, true, true, true]);
  expect([outcome, wheel.size]).toEqual([[], 0]);
});

const hasIpv6 = await new Promise<boolean>((resolve) => {
  const server = createServer().once("error", () => resolve(false));
  server.listen(0, "::1", () => server.close(() => resolve(true)));
});

describe.each(engines)("%s engine: names with several addresses", (_name, make) => {
  async function start(addresses: readonly ResolvedAddress[], config: Partial<RelayConfig> = {}) {
    const asked: string[] = [];
    const lookup: NameLookup = (host, callback) => {
      asked.push(host);
      setImmediate(() => callback(addresses, ""));
    };
    const listeners = [{ kind: "mixed", listen: "127.0.0.1:0" }] as const;
    const relay = await relayOnThread(
      { version: 1, listeners, targets: { allow: ["127.0.0.0/8", "::1"] }, ...config },
      make(),
      { lookup },
    );
    cleanups.push(relay.close);
    const ask = async (port: number): Promise<string> => {
      const socket = client(relay.ports[0]);
      socket.end(`CONNECT two.test:${port} HTTP/1.1\r\n\r\n`);
      return (await drain(socket)).bytes.toString();
    };
    return { relay, asked, ask };
  }

  async function ipv6(greeting: string): Promise<number> {
    const server = createServer((socket) => socket.end(greeting));
    server.listen(0, "::1");
    await once(server, "listening");
    cleanups.push(() => server.close());
    return (server.address() as { port: number }).port;
  }

  test.skipIf(!hasIpv6)("over IPv6 where both work", async () => {
    const port = await ipv6("by IPv6");
    const { relay, ask } = await start([
      { family: 4, host: "127.0.0.1" },
      { family: 6, host: "::1" },
    ]);
    expect(await ask(port)).toContain("by IPv6");
    await until(() => relay.core.size === 0);
    expect(relay.outcomes).toEqual([""]);
  });

  test("over IPv4 where IPv6 refuses, without a pause; and the answer of the name server is kept", async () => {
    const target = await listen((socket) => socket.end("by IPv4"));
    cleanups.push(target.close);
    const { relay, asked, ask } = await start(
      [
        { family: 6, host: "::1" },
        { family: 4, host: "127.0.0.1" },
      ],
      { dns: { attemptDelayMs: 60_000 } },
    );
    for (let round = 0; round < 3; round++) expect(await ask(target.port)).toContain("by IPv4");
    expect(asked).toEqual(["two.test"]);
    expect(relay.counters()).toMatchObject({ dnsLookups: 1, dnsHits: 2, dnsFailures: 0 });
  });

  test("an answer is used no longer than it is good, and that a name is not there is remembered too", async () => {
    const target = await listen((socket) => socket.end("hello"));
    cleanups.push(target.close);
    const { asked, ask } = await start([{ family: 4, host: "127.0.0.1" }], { dns: { ttlMs: 30 } });
    await ask(target.port);
    await new Promise((resolve) => setTimeout(resolve, 60));
    await ask(target.port);
    expect(asked.length).toBe(2);
    const none = await start([], { dns: { negativeTtlMs: 60_000 } });
    for (let round = 0; round < 2; round++) expect(await none.ask(1)).toContain("502");
    expect([none.asked.length, none.relay.counters().dnsFailures]).toEqual([1, 1]);
  });
});
