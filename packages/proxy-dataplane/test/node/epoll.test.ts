import { readdirSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import { Descriptors } from "../../src/node/epoll/descriptors.ts";
import { EpollEngine } from "../../src/node/epoll/engine.ts";
import { loadLibc, type Libc } from "../../src/node/epoll/libc.ts";
import { Timers } from "../../src/node/epoll/timers.ts";
import type { Endpoint, RelaySocket, SocketOwner, TunnelOwner } from "../../src/relay/engine.ts";
import { digest, drain, listen, patterned, until, client } from "../relay/peers.ts";

const loaded = loadLibc();
const libc = loaded as Libc;
const local: Endpoint = { family: 4, host: "127.0.0.1", port: 0 };
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const nobody: SocketOwner = { onConnect() {}, onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

/** Forward connections of `engine` to a port; the result is the port to connect to. */
function forward(engine: EpollEngine, target: number, ends: TunnelOwner = nobodyElse): Promise<number> {
  return new Promise((resolve) => {
    const listener = engine.listen(
      { endpoint: local },
      {
        onAccept: (_listener, near) => {
          const owner = { ...nobody, onConnect: (far: RelaySocket) => void engine.join(near, far, ends) };
          near.owner = nobody;
          engine.connect({ ...local, port: target }, owner);
        },
        onListenError: () => undefined,
      },
      (listening) => resolve(listening.local.port),
    );
    cleanups.push(() => listener.close());
  });
}

const nobodyElse: TunnelOwner = { onHalfClose() {}, onTunnelEnd() {} };

describe.skipIf(typeof loaded === "string")("epoll engine", () => {
  test("much data goes through a pipe, little does not, and both arrive as they were sent", async () => {
    let spliced = 0;
    const counting: Libc = {
      ...libc,
      splice: (...call) => {
        const moved = libc.splice(...call);
        if (moved > 0) spliced += moved;
        return moved;
      },
    };
    const opened = new Uint8Array(Descriptors.memory());
    const engine = new EpollEngine(counting, opened);
    engine.hold();
    const server = await listen((socket) => socket.pipe(socket));
    cleanups.push(server.close);
    const port = await forward(engine, server.port);
    for (const [size, least] of [
      [100_000, 0],
      [40_000_000, 10_000_000],
    ] as const) {
      spliced = 0;
      const socket = client(port);
      const sent = patterned(size, size);
      socket.end(sent);
      expect(digest((await drain(socket)).bytes)).toBe(digest(sent));
      if (least === 0) expect(spliced).toBe(0);
      else expect(spliced).toBeGreaterThan(least);
    }
    // Pipes are kept for the next, but not by an engine that is done.
    await cleanups.pop()?.();
    await until(() => !opened.includes(1));
  });

  test("calls that a signal interrupts are made again", async () => {
    let calls = 0;
    let interrupted = 0;
    let wasInterrupted = false;
    /** Every fifth call is interrupted, before it has done anything. */
    const sometimes = <Parameters extends number[]>(call: (...parameters: Parameters) => number) => {
      return (...parameters: Parameters): number => {
        wasInterrupted = ++calls % 5 === 0;
        if (wasInterrupted) interrupted++;
        return wasInterrupted ? -1 : call(...parameters);
      };
    };
    const faulty: Libc = {
      ...libc,
      errno: () => (wasInterrupted ? 4 : libc.errno()),
      send: sometimes(libc.send),
      recv: sometimes(libc.recv),
      splice: sometimes(libc.splice),
      accept4: sometimes(libc.accept4),
      epollWait: sometimes(libc.epollWait),
    };
    const engine = new EpollEngine(faulty);
    engine.hold();
    const server = await listen((socket) => socket.pipe(socket));
    cleanups.push(server.close);
    const port = await forward(engine, server.port);
    await Promise.all(
      [1, 2, 3].map(async (seed) => {
        const socket = client(port);
        const sent = patterned(3_000_000, seed);
        socket.end(sent);
        expect(digest((await drain(socket)).bytes)).toBe(digest(sent));
      }),
    );
    expect(interrupted).toBeGreaterThan(10);
  });

  test("a reset behind the end of a direction is passed on, though nobody reads or writes", async () => {
    const engine = new EpollEngine(libc);
    engine.hold();
    const server = await listen((socket) => socket.resume());
    cleanups.push(server.close);
    const told: string[] = [];
    const owner = {
      onHalfClose: (_tunnel: unknown, side: number) => told.push(`end of ${side}`),
      onTunnelEnd: (_tunnel: unknown, side: number, error: string) => told.push(`${error} of ${side}`),
    };
    const socket = client(await forward(engine, server.port, owner));
    socket.end("last words");
    await until(() => told.length === 1);
    socket.resetAndDestroy();
    await until(() => told.length === 2);
    // As Linux calls it where the end came first.
    expect(told).toEqual(["end of 0", "EPIPE of 0"]);
  });

  test("every descriptor is noted while it is open, and none is left", async () => {
    const server = await listen((socket) => socket.pipe(socket));
    cleanups.push(server.close);
    const before = openDescriptors();
    const opened = new Uint8Array(Descriptors.memory());
    const engine = new EpollEngine(libc, opened);
    engine.hold();
    const noted = (): number => opened.reduce((sum, byte) => sum + byte, 0);
    const port = await forward(engine, server.port);
    const sockets = Array.from({ length: 20 }, () => client(port));
    for (const socket of sockets) socket.write("x");
    await Promise.all(sockets.map((socket) => once(socket, "data")));
    // Two a connection, the listener, and epoll.
    expect(noted()).toBe(42);
    for (const socket of sockets) socket.end();
    await Promise.all(sockets.map((socket) => drain(socket)));
    await cleanups.pop()?.();
    await until(() => noted() === 0 && server.sockets.size === 0 && openDescriptors() <= before);
    expect(noted()).toBe(0);
  });

  test("without descriptors nothing is taken, said, and taken up again later", async () => {
    let isFull = true;
    let errno = 0;
    const full: Libc = {
      ...libc,
      errno: () => errno,
      accept4: (...call) => {
        errno = 24;
        if (isFull) return -1;
        const fd = libc.accept4(...call);
        errno = libc.errno();
        return fd;
      },
    };
    const engine = new EpollEngine(full);
    engine.hold();
    const errors: string[] = [];
    let accepted = 0;
    const port = await new Promise<number>((resolve) => {
      const listener = engine.listen(
        { endpoint: local },
        {
          onAccept: (_listener, socket) => {
            accepted++;
            socket.reset();
          },
          onListenError: (_listener, error) => errors.push(error),
        },
        (listening) => resolve(listening.local.port),
      );
      cleanups.push(() => listener.close());
    });
    const socket = client(port);
    await until(() => errors.length === 2);
    expect([errors, accepted]).toEqual([["EMFILE", "EMFILE"], 0]);
    isFull = false;
    await drain(socket);
    expect(accepted).toBe(1);
  });

  test("a loop that waits is woken by a message and a name look-up of Node.js", async () => {
    let inVain = 0;
    let waits = 0;
    const watched: Libc = {
      ...libc,
      epollWait: (fd, events, most, timeoutMs) => {
        const count = libc.epollWait(fd, events, most, timeoutMs);
        if (timeoutMs > 1) waits++;
        if (timeoutMs > 1 && count === 0) inVain++;
        return count;
      },
    };
    const engine = new EpollEngine(watched);
    const ticking = engine.every(3_600_000, () => undefined);
    cleanups.push(() => ticking[Symbol.dispose]());
    const { port1, port2 } = new MessageChannel();
    for (let round = 0; round < 20; round++) {
      const heard = once(port2, "message");
      port1.postMessage(round);
      await heard;
      await lookup("127.0.0.1");
      await stat(import.meta.filename);
    }
    port1.close();
    expect(waits).toBeGreaterThan(0);
    expect(inVain).toBe(0);
  });

  test("a thread in the middle of a wait ends when it is told to, and what it had open is closed", async () => {
    const server = await listen((socket) => socket.resume());
    cleanups.push(server.close);
    const opened = Descriptors.memory();
    const worker = new Worker(new URL("../fixtures/epoll-thread.mjs", import.meta.url), {
      workerData: { opened, port: server.port },
    });
    await once(worker, "message");
    await until(() => server.sockets.size === 1);
    await worker.terminate();
    expect(server.sockets.size).toBe(1);
    Descriptors.closeAll(opened);
    const [socket] = server.sockets;
    await once(socket, "end");
    expect(new Uint8Array(opened).includes(1)).toBe(false);
  });

  test("an engine with nothing to do lets its process end", async () => {
    const worker = new Worker(new URL("../fixtures/epoll-thread.mjs", import.meta.url), {
      workerData: { opened: Descriptors.memory(), port: 0 },
    });
    expect(await once(worker, "exit")).toEqual([0]);
  });
});

test("timers run in the order of their times, and may be added and removed while they run", () => {
  const timers = new Timers();
  const order: string[] = [];
  timers.add(30, () => order.push("c"));
  const removed = timers.add(20, () => order.push("b"));
  timers.add(10, () => {
    order.push("a");
    removed[Symbol.dispose]();
    timers.add(10, () => order.push("again"));
    timers.add(40, () => order.push("later"));
  });
  expect(timers.run(9)).toBe(false);
  expect(timers.run(30)).toBe(true);
  expect([order, timers.size, timers.nextMs]).toEqual([["a", "again", "c"], 1, 40]);
});
