import { spawn } from "node:child_process";
import { afterEach, describe, expect, test } from "vitest";
import type { ProxyConfig } from "../../src/index.ts";
import { originalInList } from "../../src/node/conntrack.ts";
import { findSocket, ProcessFinder } from "../../src/node/process-finder.ts";
import type { RelayConfig } from "../../src/relay/config.ts";
import type { Endpoint } from "../../src/relay/engine.ts";
import { hello, records } from "../policy/hellos.ts";
import { engines } from "./engines.ts";
import { client, drain, listen, take, until, type Peer } from "./peers.ts";
import { relayOnThread, type RelayHost, type RelayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const base = { version: 1, selection: "failover", servers: [], defaultAction: "direct" } as const;
const noSecrets: ProxyConfig = { ...base, rules: [{ action: "reject", hosts: ["*.secret.test"] }] };

describe.each(engines)("%s engine: what rules ask for", (_name, make) => {
  async function start(
    config: Partial<RelayConfig>,
    host: RelayHost["host"] = {},
  ): Promise<{ relay: RelayOnThread; port: number }> {
    const relay = await relayOnThread(
      { version: 1, listeners: [], targets: { allow: ["127.0.0.0/8"] }, ...config },
      make(),
      { host },
    );
    cleanups.push(relay.close);
    return { relay, port: relay.ports[0] };
  }

  async function echo(): Promise<Peer> {
    const peer = await listen((socket) => socket.pipe(socket));
    cleanups.push(peer.close);
    return peer;
  }

  const tls = (name: string): Buffer => Buffer.from(records(hello({ name })));

  test("a forwarding listener knows the name in a TLS hello or an HTTP head before the target has a byte", async () => {
    const target = await echo();
    const listeners = [{ kind: "forward", listen: "127.0.0.1:0", target: `127.0.0.1:${target.port}` }] as const;
    const { relay, port } = await start({ listeners, policy: noSecrets });
    const secret = [tls("a.secret.test"), Buffer.from("GET / HTTP/1.1\r\nHost: b.secret.test\r\n\r\n")];
    for (const bytes of secret) {
      const socket = client(port);
      socket.write(bytes);
      expect((await drain(socket)).bytes.length).toBe(0);
    }
    expect(target.sockets.size).toBe(0);
    for (const bytes of [tls("open.test"), Buffer.from("GET / HTTP/1.1\r\nHost: open.test\r\n\r\n")]) {
      const socket = client(port);
      // In pieces, the last of which comes with the end of the stream.
      for (let at = 0; at < bytes.length - 7; at += 7) {
        socket.write(bytes.subarray(at, at + 7));
        await new Promise((resolve) => setImmediate(resolve));
      }
      socket.end(bytes.subarray(Math.floor((bytes.length - 8) / 7) * 7 + 7));
      expect(await drain(socket)).toEqual({ bytes, error: "" });
    }
    await until(() => relay.core.size === 0);
    expect(relay.outcomes).toEqual(["denied", "denied", "", ""]);
  });

  test("the name that a client says counts, not that of the forwarding listener's target", async () => {
    const target = await echo();
    const listeners = [{ kind: "forward", listen: "127.0.0.1:0", target: `localhost:${target.port}` }] as const;
    const { port } = await start({ listeners, policy: noSecrets });
    const ask = async (name: string): Promise<number> => {
      const socket = client(port);
      socket.end(tls(name));
      return (await drain(socket)).bytes.length;
    };
    expect(await ask("a.secret.test")).toBe(0);
    expect(await ask("open.test")).toBe(tls("open.test").length);
  });

  test("a client that says nothing, or no name, or ends in the middle of one, is served all the same", async () => {
    const banner = await listen((socket) => {
      socket.write("220 ready\r\n");
      socket.pipe(socket);
    });
    cleanups.push(banner.close);
    const listeners = [{ kind: "forward", listen: "127.0.0.1:0", target: `127.0.0.1:${banner.port}` }] as const;
    const { relay, port } = await start({ listeners, policy: noSecrets, timeouts: { peekMs: 150 } });
    const silent = client(port);
    expect((await take(silent, 11)).toString()).toBe("220 ready\r\n");
    silent.end();
    await drain(silent);
    for (const text of ["SSH-2.0-x\r\n", "\u0016\u0003\u0001", "GET / HT", "G"]) {
      const socket = client(port);
      socket.end(text, "latin1");
      expect((await drain(socket)).bytes.toString("latin1")).toBe(`220 ready\r\n${text}`);
    }
    const long = client(port);
    const head = Buffer.from(`GET /${"a".repeat(40_000)}`);
    long.end(head);
    expect((await drain(long)).bytes.length).toBe(head.length + 11);
    await until(() => relay.core.size === 0);
    expect(new Set(relay.outcomes)).toEqual(new Set([""]));
  });

  test("with peek, SOCKS by address too: told early that the way is open", async () => {
    const target = await echo();
    const listeners = [{ kind: "mixed", listen: "127.0.0.1:0", peek: true }] as const;
    const { relay, port } = await start({ listeners, policy: noSecrets });
    const ask = async (bytes: Buffer): Promise<Buffer> => {
      const socket = client(port);
      socket.write(Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, target.port >>> 8, target.port & 255]));
      expect([...(await take(socket, 12))]).toEqual([5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
      socket.end(bytes);
      return (await drain(socket)).bytes;
    };
    expect((await ask(tls("a.secret.test"))).length).toBe(0);
    expect(await ask(tls("open.test"))).toEqual(tls("open.test"));
    // By name nothing needs to be looked at.
    const named = client(port);
    named.end(`CONNECT a.secret.test:${target.port} HTTP/1.1\r\n\r\n`);
    expect((await drain(named)).bytes.toString()).toContain("403");
    await until(() => relay.core.size === 0);
    expect(relay.outcomes.toSorted()).toEqual(["", "denied", "denied"]);
  });

  test("a connection of the proxy that the packet filter sends back to it is refused, told of, and counted", async () => {
    const engine = make();
    const connect = engine.connect.bind(engine);
    let port = 0;
    // What goes to the target comes to the listener, as by a rule in `output`.
    engine.connect = (to, owner, options) => connect({ ...to, port: to.port === 80 ? port : to.port }, owner, options);
    const original: Endpoint = { family: 4, host: "127.0.0.9", port: 80 };
    const listeners = [{ kind: "redirect", listen: "0.0.0.0:0" }] as const;
    const relay = await relayOnThread({ version: 1, listeners, targets: { allow: ["127.0.0.0/8"] } }, engine, {
      host: { originalDestination: (_kind, _socket, found) => void setImmediate(() => found(original)) },
    });
    cleanups.push(relay.close);
    [port] = relay.ports;
    relay.core.setOwnEndpoints([]);
    for (let round = 1; round <= 3; round++) {
      const { bytes, error } = await drain(client(port));
      expect([bytes.length, error]).toEqual([0, "ECONNRESET"]);
      await until(() => relay.core.size === 0 && relay.own.size === 0);
      // One that is accepted before it is known to be made goes round once more.
      expect(relay.loops.length).toBe(round);
      expect(relay.counters().loops).toBe(round);
    }
    expect(relay.counters().accepted).toBeLessThan(20);
    expect(relay.loops[0]).toBe("127.0.0.9:80");
  });

  test("what the proxy knows of its own connections ends with them", async () => {
    const target = await echo();
    const original: Endpoint = { family: 4, host: "127.0.0.1", port: target.port };
    const listeners = [{ kind: "redirect", listen: "127.0.0.1:0" }] as const;
    const { relay, port } = await start(
      { listeners },
      { originalDestination: (_kind, _socket, found) => found(original) },
    );
    const sockets = Array.from({ length: 5 }, () => client(port));
    for (const socket of sockets) {
      socket.write("x");
      await take(socket, 1);
    }
    expect(relay.own.size).toBe(5);
    for (const socket of sockets.slice(0, 3)) socket.end();
    for (const socket of sockets.slice(3)) socket.resetAndDestroy();
    await until(() => relay.core.size === 0);
    expect([relay.own.size, relay.loops]).toEqual([0, []]);
  });

  test("redirected connections go where they were meant to go, by rules and guard; not to the proxy itself", async () => {
    const target = await echo();
    const originals: (Endpoint | undefined)[] = [];
    const listeners = [{ kind: "redirect", listen: "127.0.0.1:0" }] as const;
    const policy: ProxyConfig = { ...base, rules: [{ action: "reject", destination: ["127.0.0.9"] }] };
    const { relay, port } = await start(
      { listeners, policy },
      { originalDestination: (_kind, _socket, found) => void setImmediate(() => found(originals.shift())) },
    );
    const ask = async (original: Endpoint | undefined): Promise<string> => {
      originals.push(original);
      const socket = client(port);
      socket.end("hello");
      return (await drain(socket)).bytes.toString();
    };
    expect(await ask({ family: 4, host: "127.0.0.1", port: target.port })).toBe("hello");
    expect(await ask({ family: 4, host: "127.0.0.9", port: target.port })).toBe("");
    expect(await ask({ family: 4, host: "10.0.0.1", port: 80 })).toBe("");
    expect(await ask({ family: 4, host: "127.0.0.1", port })).toBe("");
    expect(await ask(undefined)).toBe("");
    await until(() => relay.core.size === 0);
    expect(relay.outcomes).toEqual(["", "denied", "forbidden-target", "loop", "no-destination"]);
  });

  test.skipIf(process.platform !== "linux")("without a redirection the proxy does not call itself", async () => {
    const listeners = [{ kind: "redirect", listen: "127.0.0.1:0" }] as const;
    const { relay, port } = await start({ listeners });
    const socket = client(port);
    socket.end("hello");
    expect((await drain(socket)).bytes.length).toBe(0);
    await until(() => relay.outcomes.length === 1);
    expect(["loop", "no-destination"]).toContain(relay.outcomes[0]);
  });

  test.skipIf(process.platform !== "linux")(
    "a rule on the client's process holds for the process, not for others",
    async () => {
      const target = await echo();
      const listeners = [{ kind: "mixed", listen: "127.0.0.1:0" }] as const;
      const policy: ProxyConfig = { ...base, rules: [{ action: "reject", process: { pid: [process.pid] } }] };
      const { port } = await start({ listeners, policy });
      const own = client(port);
      own.write(`CONNECT 127.0.0.1:${target.port} HTTP/1.1\r\n\r\n`);
      expect((await take(own, 12)).toString()).toBe("HTTP/1.1 403");
      own.destroy();
      const script = `const socket = require("net").connect(${port}, "127.0.0.1");
      socket.write("CONNECT 127.0.0.1:${target.port} HTTP/1.1\\r\\n\\r\\n");
      socket.once("data", (bytes) => { process.stdout.write(bytes); socket.destroy(); });`;
      const other = spawn(process.execPath, ["-e", script]);
      let text = "";
      for await (const part of other.stdout) text += String(part);
      expect(text).toContain("HTTP/1.1 200");
    },
  );
});

test.skipIf(process.platform !== "linux")(
  "the process behind a connection is found: pid, user, name, executable",
  async () => {
    const peer = await listen((socket) => socket.pipe(socket));
    cleanups.push(peer.close);
    const socket = client(peer.port);
    await until(() => peer.sockets.size === 1);
    const end = { family: 4, host: "127.0.0.1", port: socket.localPort! } as const;
    const far = { family: 4, host: "127.0.0.1", port: peer.port } as const;
    const finder = new ProcessFinder();
    for (let round = 0; round < 2; round++) {
      expect(await finder.find(end, far)).toMatchObject({
        pid: process.pid,
        uid: process.getuid!(),
        gid: process.getgid!(),
        path: process.execPath,
      });
    }
    socket.destroy();
    await until(() => peer.sockets.size === 0);
    expect(await finder.find(end, far)).toBeUndefined();
  },
);

test("a socket in the kernel's list is found by its ends, IPv4 in IPv6 form too", () => {
  const list = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:9C40 0100007F:0438 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1
   1: 0100007F:9C40 0200007F:0438 01 00000000:00000000 00:00000000 00000000  1000        0 22 1
   2: 0100007F:9C40 0100007F:0438 01 00000000:00000000 00:00000000 00000000  1001        0 33 1
   3: 0000000000000000FFFF00000100007F:9C41 0000000000000000FFFF00000100007F:0438 01 00000000:00000000 00:00000000 00000000  7        0 44 1
   4: 00000000000000000000000001000000:9C42 00000000000000000000000001000000:0438 01 00000000:00000000 00:00000000 00000000  8        0 55 1`;
  const v4 = (port: number): Endpoint => ({ family: 4, host: "127.0.0.1", port });
  expect(findSocket(list, v4(40000), v4(1080))).toEqual({ uid: 1001, inode: "33" });
  expect(findSocket(list, v4(40000), { ...v4(80), host: "192.0.2.1" })).toEqual({ uid: 1001, inode: "33" });
  expect(findSocket(list, v4(40001), v4(1080))).toEqual({ uid: 7, inode: "44" });
  const v6 = (port: number): Endpoint => ({ family: 6, host: "::1", port });
  expect(findSocket(list, v6(40002), v6(1080))).toEqual({ uid: 8, inode: "55" });
  expect(findSocket(list, v4(1), v4(1080))).toBeUndefined();
});

test("the original destination in the kernel's list of connections is that of the same four ends", () => {
  const line = (client: string, original: string, port: number, proxy: string): string =>
    `ipv4     2 tcp      6 431999 ESTABLISHED src=${client} dst=${original} sport=4711 dport=${port} src=${proxy} dst=${client} ` +
    `sport=12345 dport=4711 [ASSURED] mark=0 zone=0 use=2`;
  const list = [
    line("10.0.0.2", "192.0.2.1", 80, "10.0.0.1"),
    line("10.0.0.3", "192.0.2.2", 81, "10.0.0.9"),
    line("10.0.0.3", "192.0.2.3", 443, "10.0.0.1"),
    "ipv6     10 tcp      6 4 ESTABLISHED src=fd00:0000:0000:0000:0000:0000:0000:0002 dst=2001:0db8:0000:0000:0000:0000:0000:0001 " +
      "sport=4711 dport=80 src=fd00:0000:0000:0000:0000:0000:0000:0001 dst=fd00:0000:0000:0000:0000:0000:0000:0002 sport=12345 dport=4711 use=2",
  ].join("\n");
  const local = { family: 4, host: "10.0.0.1", port: 12345 } as const;
  const from = (host: string) => ({ family: 4, host, port: 4711 }) as const;
  expect(originalInList(list, from("10.0.0.3"), local)).toEqual({ family: 4, host: "192.0.2.3", port: 443 });
  expect(originalInList(list, from("10.0.0.4"), local)).toBeUndefined();
  const six = (host: string, port: number) => ({ family: 6, host, port }) as const;
  expect(originalInList(list, six("fd00::2", 4711), six("fd00::1", 12345))).toMatchObject({ family: 6, port: 80 });
});
