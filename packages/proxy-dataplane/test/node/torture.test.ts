import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, expect, test } from "vitest";
import type { EngineName, RelayConfig } from "../../src/index.ts";
import { loadLibc } from "../../src/node/epoll/libc.ts";
import type * as NodeEntry from "../../src/node/index.ts";
import { freePort, take, until } from "../relay/peers.ts";
import { seeded, trouble, troubleServer, type Outcome } from "./torture-load.ts";

// RELAY_TORTURE=100000 makes so many connections with each engine; without, some hundred.
const wanted = Number(process.env["RELAY_TORTURE"] ?? 200);
const isLong = wanted > 10_000;
const SEED = Number(process.env["RELAY_TORTURE_SEED"] ?? 20_261_126);
const AT_ONCE = 64;
const RELOAD_MS = isLong ? 1000 : 150;
const KILL_MS = isLong ? 10_000 : 400;

const built = pathToFileURL(join(process.cwd(), "dist/node/index.js")).href;
const { startProxy } = (await import(built)) as typeof NodeEntry;
const engines: readonly EngineName[] = typeof loadLibc() === "string" ? ["node"] : ["node", "epoll"];

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const descriptors = (): number => readdirSync("/proc/self/fd").length;
const isLinux = process.platform === "linux";

async function proxy(config: Partial<RelayConfig>): Promise<NodeEntry.RunningProxy> {
  const listeners = [{ kind: "mixed", listen: "127.0.0.1:0" }] as const;
  const running = await startProxy({ version: 1, workers: 2, listeners, targets: { allow: ["127.0.0.1"] }, ...config });
  cleanups.push(() => running.close());
  return running;
}

test.each(engines)(
  "%s engine: resets, half-closes, slow readers, stalled handshakes, dying upstreams, reloads and dying workers cost nobody a byte, and nothing stays",
  async (engine) => {
    const { port: targetPort, open, server } = await troubleServer();
    cleanups.push(() => server.close());
    const deadPort = await freePort();
    // What goes to the target may go by way of a proxy that dies now and then, after one that is not there.
    const upstream = await proxy({ engine, workers: 1 });
    const servers = [
      { type: "socks5", address: "127.0.0.1", port: deadPort, name: "dead", priority: 1, groups: ["way"] },
      {
        type: "socks5",
        address: "127.0.0.1",
        port: upstream.endpoints[0].port,
        name: "way",
        priority: 2,
        groups: ["way"],
      },
    ] as const;
    const rules = [{ action: "proxy", group: "way", sourcePorts: ["0-40000"] }] as const;
    const config: Partial<RelayConfig> = {
      engine,
      timeouts: { handshakeMs: 2000, halfClosedMs: 20_000 },
      health: { intervalMs: 0, passiveFailures: 0 },
      policy: {
        version: 1,
        selection: "failover",
        servers,
        rules,
        defaultAction: "direct",
        bypassClasses: [],
        limits: { perClient: { connections: 4096 } },
      },
    };
    const running = await proxy(config);
    const road = { proxyPort: running.endpoints[0].port, targetPort, deadPort };
    const before = isLinux ? descriptors() : 0;

    const startMs = performance.now();
    /** When a worker of either was killed. */
    const kills: number[] = [];
    /** Whether a worker was dead at some time since: then it may be its connection that was cut off. */
    const wasKilled = (sinceMs: number): boolean => kills.length % 2 === 1 || kills.some((atMs) => atMs >= sinceMs);
    let reloads = 0;
    const over = new AbortController();
    const isOver = (): boolean => over.signal.aborted;
    const turbulence = [
      every(RELOAD_MS, async () => {
        await running.reload({ ...running.config, timeouts: { ...config.timeouts, idleMs: 60_000 + reloads++ } });
      }),
      every(KILL_MS, async () => {
        const victim = kills.length % 2 === 0 ? running : upstream;
        kills.push(performance.now());
        const replaced = victim.status().workersReplaced;
        await victim.worker(1).terminate();
        while (victim.status().workersReplaced === replaced && !isOver()) await pause(5);
        while (!isRunning(victim)) await pause(5);
        await pause(100);
        kills.push(performance.now());
      }),
    ];
    async function every(ms: number, run: () => Promise<void>): Promise<void> {
      while (!isOver()) {
        const next = performance.now() + ms;
        while (!isOver() && performance.now() < next) await pause(10);
        if (!isOver()) await run();
      }
    }

    const counts: Record<Outcome, number> = { whole: 0, broken: 0, refused: 0, cut: 0, wrong: 0 };
    let unexplained = 0;
    let begun = 0;
    let rssMost = 0;
    const client = async (id: number): Promise<void> => {
      const random = seeded(SEED + id * 7919);
      while (begun++ < wanted) {
        const begunMs = performance.now();
        const outcome = await trouble(road, random);
        counts[outcome]++;
        if (outcome === "cut" && !wasKilled(begunMs)) unexplained++;
        rssMost = Math.max(rssMost, begun % 256 === 0 ? process.memoryUsage.rss() : 0);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, (_, id) => client(id)));
    // A short run is over before anybody was killed.
    while (kills.length < 2) await pause(10);
    over.abort();
    await Promise.all(turbulence);

    expect([counts.wrong, unexplained]).toEqual([0, 0]);
    expect(counts.whole).toBeGreaterThan(wanted / 4);
    await until(() => running.status().connections === 0 && upstream.status().connections === 0 && open.size === 0);
    for (const each of [running, upstream]) {
      const { accepted, closed } = each.status().counters;
      // A thread that is ended from outside may have counted a connection that it has not entered yet: one at a time.
      expect(Math.abs(accepted - closed)).toBeLessThanOrEqual(each.status().workersReplaced);
      expect(await each.connections()).toEqual([]);
    }
    expect(reloads).toBeGreaterThan(0);
    // A worker's own descriptors (its event loop, its log) come and go with it.
    if (isLinux) await until(() => descriptors() <= before + 4);
    if (isLong) {
      const seconds = (performance.now() - startMs) / 1000;
      const facts = {
        engine,
        ...counts,
        seconds: Math.round(seconds),
        reloads,
        kills: kills.length / 2,
        rssMostMb: rssMost >> 20,
      };
      process.stdout.write(
        `torture ${JSON.stringify({ ...facts, descriptors: [before, descriptors()], ...running.status().counters })}\n`,
      );
    }
    expect(rssMost).toBeLessThan(1.5e9);
  },
  3_600_000,
);

function isRunning(victim: NodeEntry.RunningProxy): boolean {
  try {
    victim.worker(1);
    return true;
  } catch {
    return false;
  }
}

test.each(engines)("%s engine: slow requests and a flood of connections hold up nobody else", async (engine) => {
  const { port: targetPort, server } = await troubleServer();
  cleanups.push(() => server.close());
  const running = await proxy({
    engine,
    listeners: [{ kind: "mixed", listen: "0.0.0.0:0" }],
    limits: { connectionsPerClient: 100 },
    timeouts: { handshakeMs: 600 },
  });
  const [{ port }] = running.endpoints;
  const held: Socket[] = [];
  const flood = (count: number, host: string): void => {
    for (let i = 0; i < count; i++) {
      const socket = connect({ port, host: "127.0.0.1", localAddress: host });
      socket.on("error", () => undefined);
      socket.resume();
      held.push(socket);
    }
  };
  cleanups.push(() => held.forEach((socket) => socket.destroy()));
  // A hundred stay and send a byte now and then, the rest is refused at once; from another address it is served all the while.
  flood(400, "127.0.0.9");
  const drip = setInterval(() => held.forEach((socket) => socket.writable && socket.write("A")), 100);
  cleanups.push(() => clearInterval(drip));
  const served = async (): Promise<void> => {
    const socket = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.1" });
    socket.write(`CONNECT 127.0.0.1:${targetPort} HTTP/1.1\r\n\r\n`);
    expect((await take(socket, 12)).toString()).toBe("HTTP/1.1 200");
    socket.destroy();
  };
  await until(() => running.status().counters.overLimit === 300);
  for (let i = 0; i < 20; i++) await served();
  expect(running.status().connections).toBeLessThanOrEqual(100 + 20);
  // Whatever they send, the deadline holds: from the acceptance to the whole request.
  await until(() => running.status().connections === 0);
  expect(running.status().counters.handshakeTimeouts).toBe(100);
  await served();
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
