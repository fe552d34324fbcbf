import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { RelayConfig } from "../../src/relay/config.ts";
import { engines } from "./engines.ts";
import { client, digest, drain, listen, patterned, take, until, type Peer } from "./peers.ts";
import { relayOnThread, type RelayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

describe.each(engines)("%s engine: joined connections", (_name, make) => {
  /** A forwarding relay in front of a server. */
  async function between(
    onSocket: (socket: Socket) => void,
    more: Partial<RelayConfig> = {},
  ): Promise<{ relay: RelayOnThread; server: Peer; port: number }> {
    const server = await listen(onSocket);
    const config: RelayConfig = {
      version: 1,
      listeners: [{ kind: "forward", listen: "127.0.0.1:0", target: `127.0.0.1:${server.port}` }],
      ...more,
    };
    const relay = await relayOnThread(config, make());
    cleanups.push(server.close, relay.close);
    return { relay, server, port: relay.ports[0] };
  }

  test("eight streams in both directions at once arrive as they were sent, whatever the pace of their readers", async () => {
    const { relay, port } = await between((socket) => {
      // The server sends back what it gets, in fits and starts.
      let held = 0;
      socket.on("data", (part: Buffer) => {
        if (!socket.write(part)) socket.pause();
        if (++held % 7 === 0) {
          socket.pause();
          setTimeout(() => socket.resume(), 3);
        }
      });
      socket.on("drain", () => socket.resume());
      socket.on("end", () => socket.end());
    });
    const streams = Array.from({ length: 8 }, async (_, index) => {
      const sent = patterned(3_000_000 + index * 65_537, index + 1);
      const socket = client(port);
      const received: Buffer[] = [];
      let parts = 0;
      socket.on("data", (part: Buffer) => {
        received.push(Buffer.from(part));
        if (++parts % 11 !== index) return;
        socket.pause();
        setTimeout(() => socket.resume(), 2);
      });
      socket.end(sent);
      await once(socket, "end");
      const all = Buffer.concat(received);
      expect(all.length).toBe(sent.length);
      expect(digest(all)).toBe(digest(sent));
    });
    await Promise.all(streams);
    await until(() => relay.outcomes.length === 8);
    expect(relay.outcomes).toEqual(Array.from({ length: 8 }, () => ""));
    expect([relay.core.size, relay.core.table.size]).toEqual([0, 0]);
  });

  test("a client that ends its direction still gets the answer", async () => {
    const { relay, port } = await between(async (socket) => {
      const { bytes } = await drain(socket);
      socket.end(Buffer.concat([Buffer.from("got "), bytes]));
    });
    const socket = client(port);
    socket.end("question");
    expect((await drain(socket)).bytes.toString()).toBe("got question");
    await until(() => relay.outcomes.length === 1);
    expect(relay.outcomes).toEqual([""]);
  });

  test("a server that ends its direction still gets what the client has to say", async () => {
    let got = "";
    const { relay, port } = await between(async (socket) => {
      socket.end("bye");
      got = (await drain(socket)).bytes.toString();
    });
    const socket = client(port);
    expect((await drain(socket)).bytes.toString()).toBe("bye");
    socket.end("late words");
    await until(() => got !== "");
    expect(got).toBe("late words");
    await until(() => relay.outcomes.length === 1);
    expect(relay.outcomes).toEqual([""]);
  });

  test("a reset of either side resets the other, and leaves nothing behind", async () => {
    const { relay, server, port } = await between((socket) => {
      socket.on("data", (part: Buffer) => {
        if (part.toString() === "reset") socket.resetAndDestroy();
        else socket.write(part);
      });
    });
    for (let round = 0; round < 10; round++) {
      const socket = client(port);
      socket.write("reset");
      expect((await drain(socket)).error).toBe("ECONNRESET");
    }
    for (let round = 0; round < 10; round++) {
      const socket = client(port);
      socket.write("echo");
      await once(socket, "data");
      socket.resetAndDestroy();
    }
    await until(() => relay.outcomes.length === 20 && server.sockets.size === 0);
    expect(relay.outcomes.toSorted()).toEqual([
      ...Array.from({ length: 10 }, () => "client-reset"),
      ...Array.from({ length: 10 }, () => "server-reset"),
    ]);
    expect([relay.core.size, relay.core.table.size]).toEqual([0, 0]);
  });

  test("a reader that does not read stops the sender, not the memory", async () => {
    const { relay, port } = await between((socket) => socket.pause());
    const socket = client(port);
    const chunk = Buffer.alloc(1 << 20);
    let sent = 0;
    let isBlocked = false;
    // Send until the kernel takes nothing for a while: everything between is full.
    while (!isBlocked && sent < 512) {
      isBlocked = !(await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), 1000);
        socket.write(chunk, () => {
          clearTimeout(timer);
          resolve(true);
        });
      }));
      if (!isBlocked) sent++;
    }
    expect(isBlocked).toBe(true);
    expect(sent).toBeLessThan(64);
    socket.destroy();
    relay.core.killAll("killed");
    expect(relay.core.size).toBe(0);
  });

  test("half-closed connections on which nothing moves end, and idle ones do", async () => {
    // A server that has seen the end of its input learns of nothing more, so its sockets are not counted here.
    const { relay, port } = await between((socket) => socket.resume(), {
      timeouts: { halfClosedMs: 100, idleMs: 200 },
    });
    const half = client(port);
    half.end("x");
    const idle = client(port);
    await Promise.all([drain(half), drain(idle)]);
    await until(() => relay.outcomes.length === 2);
    expect(relay.outcomes.toSorted()).toEqual(["half-closed-timeout", "idle-timeout"]);
  });

  test("a connection on which something moves is not idle", async () => {
    const engine = make();
    let nowMs = 0;
    engine.nowMs = () => nowMs;
    const server = await listen((socket) => socket.pipe(socket));
    const target = `127.0.0.1:${server.port}`;
    const listeners = [{ kind: "forward", listen: "127.0.0.1:0", target }] as const;
    const relay = await relayOnThread({ version: 1, listeners, timeouts: { idleMs: 60_000 } }, engine);
    cleanups.push(server.close, relay.close);
    const socket = client(relay.ports[0]);
    const pass = (ms: number): void => {
      nowMs += ms;
      for (let tick = 0; tick <= ms / relay.core.wheel.tickMs; tick++) relay.core.wheel.advance();
    };
    for (let round = 0; round < 5; round++) {
      socket.write("x");
      await take(socket, 1);
      pass(40_000);
      expect(relay.outcomes).toEqual([]);
    }
    pass(30_000);
    expect(relay.outcomes).toEqual(["idle-timeout"]);
    expect((await drain(socket)).error).toBe("ECONNRESET");
  });

  test("a killed connection is closed on both sides, and its bytes are counted", async () => {
    const { relay, server, port } = await between((socket) => socket.pipe(socket));
    const socket = client(port);
    socket.write("12345");
    await once(socket, "data");
    const listed: number[] = [];
    relay.core.publish();
    let object = 0;
    relay.core.table.list((connection, at) => {
      listed.push(connection.clientBytes, connection.serverBytes, connection.id);
      expect(connection.state).toBe("relaying");
      object = at;
    });
    expect(listed.slice(0, 2)).toEqual([5, 5]);
    expect(relay.core.kill(object, listed[2] + 1)).toBe(false);
    expect(relay.core.kill(object, listed[2])).toBe(true);
    await drain(socket);
    await until(() => server.sockets.size === 0);
    expect(relay.outcomes).toEqual(["killed"]);
    expect(relay.counters()).toMatchObject({ accepted: 1, closed: 1, clientBytes: 5, serverBytes: 5 });
  });

  test("many short connections leave nothing behind", async () => {
    const { relay, server, port } = await between((socket) => socket.pipe(socket));
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const socket = client(port);
          const text = `${round}.${index}`;
          if (index % 5 === 4) socket.on("connect", () => socket.resetAndDestroy());
          else {
            socket.end(text);
            expect((await drain(socket)).bytes.toString()).toBe(text);
          }
        }),
      );
    }
    await until(() => relay.core.size === 0 && server.sockets.size === 0);
    expect(relay.core.table.size).toBe(0);
    expect(relay.core.wheel.size).toBe(0);
    expect(relay.counters().accepted).toBe(relay.counters().closed);
  });
});
