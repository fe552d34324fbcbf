import { afterEach, describe, expect, test } from "vitest";
import { Arena } from "../../src/node/epoll/arena.ts";
import { EpollEngine } from "../../src/node/epoll/engine.ts";
import {
  AF_INET,
  loadLibc,
  MSG_DONTWAIT,
  MSG_MORE,
  SHUT_WR,
  SOCK_STREAM,
  TCP_NODELAY,
  TCP_QUICKACK,
  type Libc,
} from "../../src/node/epoll/libc.ts";
import { readSockaddr, SOCKADDR_BYTES, writeSockaddr } from "../../src/node/epoll/sockaddr.ts";
import type { Endpoint, RelaySocket, SocketOwner, TunnelOwner } from "../../src/relay/engine.ts";
import { client, drain, listen, take, until } from "../relay/peers.ts";

const loaded = loadLibc();
const libc = loaded as Libc;
const local: Endpoint = { family: 4, host: "127.0.0.1", port: 0 };
const MSG_OOB = 1;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const nobody: SocketOwner = { onConnect() {}, onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
const nobodyElse: TunnelOwner = { onHalfClose() {}, onTunnelEnd() {} };

/** A server whose calls are made one right after the other, so that the engine sees what they did at once. */
class RawServer {
  readonly port: number;
  readonly #memory = new Arena(libc, 4096);
  readonly #name = this.#memory.piece(SOCKADDR_BYTES);
  readonly #length = this.#memory.piece(64);
  readonly #bytes = this.#memory.piece(1024);
  readonly #listening: number;

  constructor() {
    this.#listening = libc.socket(AF_INET, SOCK_STREAM | 0x800, 0);
    libc.bind(this.#listening, this.#name.address, writeSockaddr(this.#name.bytes, 0, local));
    libc.listen(this.#listening, 8);
    this.#length.words[0] = SOCKADDR_BYTES;
    libc.getsockname(this.#listening, this.#name.address, this.#length.address);
    ({ port: this.port } = readSockaddr(this.#name.bytes, 0, SOCKADDR_BYTES));
    cleanups.push(() => libc.close(this.#listening));
  }

  async accept(): Promise<number> {
    let fd = -1;
    await until(() => (fd = libc.accept4(this.#listening, 0, 0, 0)) >= 0);
    cleanups.push(() => libc.close(fd));
    return fd;
  }

  send(fd: number, text: string, flags: number): void {
    const bytes = Buffer.from(text);
    this.#bytes.bytes.set(bytes);
    expect(libc.send(fd, this.#bytes.address, bytes.length, flags)).toBe(bytes.length);
  }

  /** What has come within the time it takes; "" at the end. */
  async receive(fd: number): Promise<string> {
    let count = -1;
    await until(() => (count = libc.recv(fd, this.#bytes.address, 1024, MSG_DONTWAIT)) >= 0);
    return Buffer.from(this.#bytes.bytes.subarray(0, count)).toString();
  }
}

/** Forward connections to a port; the result is the port to connect to. */
function forward(engine: EpollEngine, target: number, speaksFirst?: boolean): Promise<number> {
  return new Promise((resolve) => {
    const owner = {
      onAccept: (_listener: unknown, near: RelaySocket) => {
        near.owner = nobody;
        const joining = { ...nobody, onConnect: (far: RelaySocket) => void engine.join(near, far, nobodyElse) };
        engine.connect({ ...local, port: target }, joining, { speaksFirst: speaksFirst ?? near.canRead });
      },
      onListenError: () => undefined,
    };
    const listener = engine.listen({ endpoint: local }, owner, (listening) => resolve(listening.local.port));
    cleanups.push(() => listener.close());
  });
}

/** An engine whose calls are written down as `call(arguments that matter)`. */
function watched(calls: string[]): EpollEngine {
  const engine = new EpollEngine({
    ...libc,
    send: (fd, address, count, flags) => {
      calls.push(`send ${count}${(flags & MSG_MORE) === 0 ? "" : " and more"}`);
      return libc.send(fd, address, count, flags);
    },
    shutdown: (fd, how) => {
      calls.push("shutdown");
      return libc.shutdown(fd, how);
    },
    setsockopt: (fd, level, name, value, length) => {
      if (level === 6) calls.push(name === TCP_NODELAY ? "no delay" : name === TCP_QUICKACK ? "no quick ack" : "?");
      return libc.setsockopt(fd, level, name, value, length);
    },
  });
  engine.hold();
  return engine;
}

describe.skipIf(typeof loaded === "string")("epoll engine", () => {
  test("the last bytes wait for the end behind them, and the other direction stays open", async () => {
    const calls: string[] = [];
    const server = new RawServer();
    const socket = client(await forward(watched(calls), server.port));
    socket.write("request");
    const fd = await server.accept();
    expect(await server.receive(fd)).toBe("request");
    server.send(fd, "reply", 0);
    libc.shutdown(fd, SHUT_WR);
    expect((await drain(socket)).bytes.toString()).toBe("reply");
    expect(calls.slice(-2)).toEqual(["send 5 and more", "shutdown"]);
    socket.end("more");
    expect(await server.receive(fd)).toBe("more");
    expect(await server.receive(fd)).toBe("");
  });

  test("what lies behind urgent bytes arrives, and so does the end behind it", async () => {
    const server = new RawServer();
    const socket = client(await forward(watched([]), server.port));
    const fd = await server.accept();
    server.send(fd, "ab!", MSG_OOB);
    server.send(fd, "cd", 0);
    expect((await take(socket, 4)).toString()).toBe("abcd");
    server.send(fd, "e!", MSG_OOB);
    server.send(fd, "f", 0);
    libc.shutdown(fd, SHUT_WR);
    expect((await drain(socket)).bytes.toString()).toBe("ef");
    socket.destroy();
  });

  test("nothing is held back for what is under way: not the second small packet, nor the rest of a large one", async () => {
    const calls: string[] = [];
    const server = await listen((socket) => socket.pipe(socket));
    cleanups.push(server.close);
    const port = await forward(watched(calls), server.port);
    const upstream = (): string[] => calls.splice(0);
    expect(upstream()).toEqual(["no delay"]);
    const small = client(port);
    for (const _ of [1, 2, 3]) {
      small.write("a");
      await take(small, 1);
    }
    expect(upstream().filter((call) => call !== "no quick ack")).toEqual([
      "send 1",
      "send 1",
      "no delay",
      "send 1",
      "send 1",
      "send 1",
      "send 1",
    ]);
    const large = client(port);
    large.write(Buffer.alloc(5000));
    await take(large, 5000);
    expect(calls).toContain("no delay");
    expect(calls.indexOf("no delay")).toBeLessThan(calls.findIndex((call) => call.startsWith("send")));
    small.destroy();
    large.destroy();
  });

  test("a server is reached though the client that has spoken first says nothing that can be sent", async () => {
    const calls: string[] = [];
    const server = await listen((socket) => socket.write("hello"));
    cleanups.push(server.close);
    const socket = client(await forward(watched(calls), server.port, true));
    expect((await take(socket, 5)).toString()).toBe("hello");
    expect(calls).toContain("no quick ack");
    socket.destroy();
  });

  test("a connection is told of with what its client has sent already", async () => {
    const engine = watched([]);
    const seen: boolean[] = [];
    const owner = {
      onAccept: (_listener: unknown, socket: RelaySocket) => {
        seen.push(socket.canRead);
        socket.reset();
      },
      onListenError: () => undefined,
    };
    const port = await new Promise<number>((resolve) => {
      const listener = engine.listen({ endpoint: local }, owner, (listening) => resolve(listening.local.port));
      cleanups.push(() => listener.close());
    });
    await drain(client(port));
    expect(seen).toEqual([false]);
    // Both calls are made before the engine can look.
    const fd = libc.socket(AF_INET, SOCK_STREAM, 0);
    cleanups.push(() => libc.close(fd));
    const memory = new Arena(libc, 256);
    const name = memory.piece(SOCKADDR_BYTES);
    libc.connect(fd, name.address, writeSockaddr(name.bytes, 0, { ...local, port }));
    libc.send(fd, name.address, 1, 0);
    await until(() => seen.length === 2);
    expect(seen).toEqual([false, true]);
  });
});
