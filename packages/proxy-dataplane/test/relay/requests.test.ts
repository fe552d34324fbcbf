import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { RelayConfig } from "../../src/relay/config.ts";
import { proxyHeader } from "../../src/relay/proxy-protocol-write.ts";
import { engines } from "./engines.ts";
import { client, digest, drain, listen, patterned, take, until, type Peer } from "./peers.ts";
import { relayOnThread, type RelayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const port2 = (port: number): number[] => [port >>> 8, port & 255];

describe.each(engines)("%s engine: requests", (_name, make) => {
  async function start(config: Partial<RelayConfig> = {}): Promise<{ relay: RelayOnThread; echo: Peer; port: number }> {
    const echo = await listen((socket) => socket.pipe(socket));
    const relay = await relayOnThread(
      {
        version: 1,
        listeners: [{ kind: "mixed", listen: "127.0.0.1:0" }],
        targets: { allow: ["127.0.0.0/8", "::1"] },
        ...config,
      },
      make(),
    );
    cleanups.push(echo.close, relay.close);
    return { relay, echo, port: relay.ports[0] };
  }

  test("SOCKS5, byte by byte, and data that comes with the request", async () => {
    const { echo, port } = await start();
    const socket = client(port);
    const request = Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, ...port2(echo.port), ...Buffer.from("early")]);
    for (const byte of request) {
      socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect([...(await take(socket, 2))]).toEqual([5, 0]);
    expect([...(await take(socket, 4))]).toEqual([5, 0, 0, 1]);
    await take(socket, 6);
    expect((await take(socket, 5)).toString()).toBe("early");
    socket.end(" late");
    expect((await drain(socket)).bytes.toString()).toBe(" late");
  });

  test("more data behind the request than a request may have is data", async () => {
    const { echo, port } = await start();
    const socket = client(port);
    const sent = patterned(100_000, 5);
    socket.end(Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, ...port2(echo.port)]), sent]));
    await take(socket, 12);
    expect(digest((await drain(socket)).bytes)).toBe(digest(sent));
  });

  test("SOCKS4a with a name, SOCKS4 with an address", async () => {
    const { echo, port } = await start();
    for (const request of [
      [4, 1, ...port2(echo.port), 0, 0, 0, 7, 117, 0, ...Buffer.from("localhost"), 0],
      [4, 1, ...port2(echo.port), 127, 0, 0, 1, 0],
    ]) {
      const socket = client(port);
      socket.write(Buffer.from(request));
      expect([...(await take(socket, 2))]).toEqual([0, 90]);
      await take(socket, 6);
      socket.end("hello");
      expect((await drain(socket)).bytes.toString()).toBe("hello");
    }
  });

  test("users and passwords, by SOCKS5 and HTTP; SOCKS4 cannot", async () => {
    const { relay, echo, port } = await start({ users: { joe: "secret" } });
    const ask = async (password: string): Promise<number> => {
      const socket = client(port);
      socket.write(Buffer.from([5, 2, 0, 2]));
      expect([...(await take(socket, 2))]).toEqual([5, 2]);
      socket.write(Buffer.from([1, 3, ...Buffer.from("joe"), password.length, ...Buffer.from(password)]));
      const [, status] = await take(socket, 2);
      if (status !== 0) expect((await drain(socket)).bytes.length).toBe(0);
      socket.destroy();
      return status;
    };
    expect([await ask("secret"), await ask("secreT"), await ask("secre"), await ask("")]).toEqual([0, 1, 1, 1]);
    const plain = client(port);
    plain.write(Buffer.from([5, 1, 0]));
    expect([...(await drain(plain)).bytes]).toEqual([5, 255]);
    const http = async (header: string): Promise<string> => {
      const socket = client(port);
      socket.end(`CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n${header}\r\n`);
      return (await drain(socket)).bytes.toString().split("\r\n")[0];
    };
    const basic = (text: string): string => `Proxy-Authorization: Basic ${Buffer.from(text).toString("base64")}\r\n`;
    expect(await http("")).toBe("HTTP/1.1 407 Proxy Authentication Required");
    expect(await http(basic("joe:wrong"))).toBe("HTTP/1.1 407 Proxy Authentication Required");
    expect(await http(basic("joe:secret"))).toBe("HTTP/1.1 200 Connection established");
    const old = client(port);
    old.write(Buffer.from([4, 1, ...port2(echo.port), 127, 0, 0, 1, 106, 0]));
    expect([...(await drain(old)).bytes].slice(0, 2)).toEqual([0, 91]);
    await until(() => relay.core.size === 0);
    expect(relay.counters().authenticationFailures).toBe(4);
  });

  test("a target that refuses, one that is not there, one that is forbidden: SOCKS5 codes and HTTP statuses", async () => {
    const { relay, port } = await start();
    const gone = await listen(() => undefined);
    await gone.close();
    const socks = async (address: number[], at: number): Promise<number> => {
      const socket = client(port);
      socket.write(Buffer.from([5, 1, 0, 5, 1, 0, ...address, ...port2(at)]));
      return (await drain(socket)).bytes[3];
    };
    const name = (text: string): number[] => [3, text.length, ...Buffer.from(text)];
    expect(await socks([1, 127, 0, 0, 1], gone.port)).toBe(5);
    expect(await socks([1, 10, 0, 0, 1], 80)).toBe(2);
    expect(await socks([1, 169, 254, 169, 254], 80)).toBe(2);
    expect(await socks([1, 127, 0, 0, 1], port)).toBe(2); // the proxy itself
    expect(await socks(name("nothing.invalid"), 80)).toBe(4);
    const http = async (request: string): Promise<string> => {
      const socket = client(port);
      socket.write(`${request}\r\n\r\n`);
      return (await drain(socket)).bytes.toString().split("\r\n")[0].slice(9, 12);
    };
    expect(await http(`CONNECT 127.0.0.1:${gone.port} HTTP/1.1`)).toBe("502");
    expect(await http("CONNECT 10.0.0.1:443 HTTP/1.1")).toBe("403");
    expect(await http("GET / HTTP/1.1")).toBe("400");
    expect(await http("GET ftp://a/ HTTP/1.1")).toBe("501");
    expect(await http(`POST http://127.0.0.1/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked`)).toBe(
      "400",
    );
    await until(() => relay.core.size === 0);
    expect(relay.outcomes.filter((outcome) => outcome === "refused").length).toBe(2);
  });

  test("refused clients do not stay, even those that never read or close", async () => {
    const { relay, port } = await start();
    const sockets = Array.from({ length: 50 }, () => {
      const socket = client(port);
      socket.pause();
      socket.write("CONNECT 10.0.0.1:443 HTTP/1.1\r\n\r\n");
      return socket;
    });
    await until(() => relay.outcomes.length === 50);
    expect(relay.core.size).toBe(0);
    for (const socket of sockets) socket.destroy();
  });

  test("a client that sends nothing, or byte after byte without an end, is closed at the deadline", async () => {
    const { relay, port } = await start({ timeouts: { handshakeMs: 300 } });
    const silent = client(port);
    const slow = client(port);
    const timer = setInterval(() => slow.write("A"), 20);
    await Promise.all([drain(silent), drain(slow)]);
    clearInterval(timer);
    await until(() => relay.core.size === 0);
    expect(relay.outcomes).toEqual(["handshake-timeout", "handshake-timeout"]);
    silent.destroy();
    slow.destroy();
  });

  test("nonsense ends the connection and nothing else", async () => {
    const { relay, echo, port } = await start();
    for (const bytes of [
      Buffer.from([0x16, 3, 1, 0, 0]),
      Buffer.alloc(20_000, 65),
      Buffer.from([5, 1, 0, 6, 6, 6]),
      Buffer.from([4, 9, 0, 0, 0, 0, 0, 0, 0]),
    ]) {
      const socket = client(port);
      socket.write(bytes);
      await drain(socket);
      socket.destroy();
    }
    await until(() => relay.core.size === 0);
    expect(new Set(relay.outcomes)).toEqual(new Set(["malformed-request"]));
    const socket = client(port);
    socket.end(`CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n\r\nstill here`);
    expect((await drain(socket)).bytes.toString()).toBe("HTTP/1.1 200 Connection established\r\n\r\nstill here");
  });

  test("a client that goes away while the proxy connects leaves nothing", async () => {
    const { relay, echo, port } = await start();
    for (let round = 0; round < 20; round++) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, ...port2(echo.port)]));
      await once(socket, "connect");
      socket.resetAndDestroy();
    }
    await until(() => relay.outcomes.length === 20 && echo.sockets.size === 0);
    expect([relay.core.size, relay.core.table.size]).toEqual([0, 0]);
  });

  test("BIND: the target connects back, and both are told", async () => {
    const { relay, port } = await start();
    const socket = client(port);
    socket.write(Buffer.from([5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 0]));
    await take(socket, 2);
    const first = await take(socket, 10);
    expect([...first.subarray(0, 4)]).toEqual([5, 0, 0, 1]);
    const back = client(first.readUInt16BE(8));
    back.write("hello");
    const second = await take(socket, 10);
    expect([...second.subarray(0, 8)]).toEqual([5, 0, 0, 1, 127, 0, 0, 1]);
    expect(second.readUInt16BE(8)).toBe(back.localPort);
    expect((await take(socket, 5)).toString()).toBe("hello");
    socket.end("bye");
    expect((await drain(back)).bytes.toString()).toBe("bye");
    back.end();
    await until(() => relay.core.size === 0);
  });

  test("BIND: nobody but the host that was named may connect", async () => {
    const { port } = await start();
    const socket = client(port);
    socket.write(Buffer.from([5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 9, 0, 0]));
    await take(socket, 2);
    const first = await take(socket, 10);
    const back = client(first.readUInt16BE(8));
    expect((await drain(back)).error).toBe("ECONNRESET");
    socket.destroy();
  });

  test("UDP ASSOCIATE: datagrams to addresses and names, answers only from where was sent to, gone with the connection", async () => {
    const { relay, port } = await start();
    const server = createSocket("udp4");
    server.on("message", (message, from) => server.send(`echo ${message.toString()}`, from.port, from.address));
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    const stranger = createSocket("udp4");
    const mine = createSocket("udp4");
    mine.bind(0, "127.0.0.1");
    await once(mine, "listening");
    const socket = client(port);
    socket.write(Buffer.from([5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
    await take(socket, 2);
    const near = (await take(socket, 10)).readUInt16BE(8);
    const got: Buffer[] = [];
    mine.on("message", (message) => got.push(message));
    const to = port2(server.address().port);
    mine.send(Buffer.from([0, 0, 0, 1, 127, 0, 0, 1, ...to, ...Buffer.from("one")]), near, "127.0.0.1");
    await until(() => got.length === 1);
    expect([...got[0].subarray(0, 10)]).toEqual([0, 0, 0, 1, 127, 0, 0, 1, ...to]);
    expect(got[0].subarray(10).toString()).toBe("echo one");
    mine.send(
      Buffer.from([0, 0, 0, 3, 9, ...Buffer.from("127.0.0.1"), ...to, ...Buffer.from("two")]),
      near,
      "127.0.0.1",
    );
    await until(() => got.length === 2);
    expect(got[1].subarray(10).toString()).toBe("echo two");
    // A fragment, a forbidden target, a stranger: dropped, and counted.
    mine.send(Buffer.from([0, 0, 1, 1, 127, 0, 0, 1, ...to, 1]), near, "127.0.0.1");
    mine.send(Buffer.from([0, 0, 0, 1, 10, 0, 0, 1, ...to, 1]), near, "127.0.0.1");
    stranger.send(Buffer.from([0, 0, 0, 1, 127, 0, 0, 1, ...to, 1]), near, "127.0.0.1");
    await until(() => relay.counters().udpDropped === 3);
    socket.end();
    await until(() => relay.core.size === 0);
    for (const each of [server, stranger, mine]) each.close();
  });

  test("plain HTTP goes through in origin form", async () => {
    const seen: string[] = [];
    const web = await listen(async (socket) => {
      seen.push((await take(socket, 60)).toString());
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    cleanups.push(web.close);
    const { port } = await start();
    const socket = client(port);
    socket.write(`GET http://127.0.0.1:${web.port}/a?b HTTP/1.1\r\nProxy-Connection: x\r\n\r\n`);
    expect((await drain(socket)).bytes.toString()).toContain("200 OK");
    expect(seen[0]).toMatch(new RegExp(`^GET /a\\?b HTTP/1.1\r\nHost: 127.0.0.1:${web.port}\r\nConnection: clos`));
    socket.destroy();
  });

  test("a header of the PROXY protocol tells who the client is, and is passed on", async () => {
    const got: string[] = [];
    const server = await listen(async (socket) => {
      got.push((await drain(socket)).bytes.toString());
      socket.end();
    });
    cleanups.push(server.close);
    const { relay, port } = await start({
      listeners: [
        {
          kind: "forward",
          listen: "127.0.0.1:0",
          target: `127.0.0.1:${server.port}`,
          acceptProxyProtocol: true,
          sendProxyProtocol: "v1",
        },
      ],
    });
    const source = { family: 4, host: "192.0.2.7", port: 4711 } as const;
    const destination = { family: 4, host: "192.0.2.9", port: 443 } as const;
    for (const version of [1, 2] as const) {
      const socket = client(port);
      socket.write(proxyHeader({ version, source, destination }));
      socket.end("data");
      await drain(socket);
    }
    expect(got).toEqual(Array.from({ length: 2 }, () => "PROXY TCP4 192.0.2.7 192.0.2.9 4711 443\r\ndata"));
    const bad = client(port);
    bad.end("GET / HTTP/1.1\r\n\r\n");
    expect((await drain(bad)).bytes.length).toBe(0);
    await until(() => relay.core.size === 0);
  });

  test("names are looked up once, and addresses of both families race", async () => {
    const { relay, echo, port } = await start();
    for (let round = 0; round < 3; round++) {
      const socket = client(port);
      socket.end(`CONNECT localhost:${echo.port} HTTP/1.1\r\n\r\n${round}`);
      expect((await drain(socket)).bytes.toString()).toBe(`HTTP/1.1 200 Connection established\r\n\r\n${round}`);
    }
    expect(relay.counters()).toMatchObject({ dnsLookups: 1, dnsHits: 2 });
  });

  test("the limit on connections holds", async () => {
    const { relay, echo, port } = await start({ limits: { connections: 3 } });
    const open = async (): Promise<string> => {
      const socket = client(port);
      socket.write(`CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n\r\n`);
      cleanups.push(async () => void socket.destroy());
      return take(socket, 12).then(
        (bytes) => bytes.toString(),
        () => "closed",
      );
    };
    expect([await open(), await open(), await open()]).toEqual(["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 200"]);
    expect(await open()).toBe("closed");
    expect(relay.counters().overLimit).toBe(1);
  });
});
