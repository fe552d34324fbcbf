import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, expect, test } from "vitest";
import type { EngineName, ListenerConfig, RelayConfig } from "../../src/index.ts";
import type * as NodeEntry from "../../src/node/index.ts";
import { client, digest, drain, listen, patterned, take, until, type Peer } from "../relay/peers.ts";

// Workers load built modules, and so does the thread that starts them: both sides must be the same.
const built = pathToFileURL(join(process.cwd(), "dist/node/index.js")).href;
const { control, serveControl, startProxy } = (await import(built)) as typeof NodeEntry;

/** Other files run the same tests with another engine. */
const engine = (process.env["RELAY_ENGINE"] ?? "auto") as EngineName;

const folder = mkdtempSync(join(tmpdir(), "relay-"));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const mixed: ListenerConfig = { name: "mixed", kind: "mixed", listen: "127.0.0.1:0" };

async function start(
  config: Partial<RelayConfig> = {},
): Promise<{ proxy: NodeEntry.RunningProxy; echo: Peer; messages: string[] }> {
  const echo = await listen((socket) => socket.pipe(socket));
  const messages: string[] = [];
  const proxy = await startProxy(
    { version: 1, workers: 2, engine, listeners: [mixed], targets: { allow: ["127.0.0.1"] }, ...config },
    { onMessage: (text) => messages.push(text) },
  );
  cleanups.push(echo.close, () => proxy.close());
  return { proxy, echo, messages };
}

/** A connection through the proxy to the echo server. */
async function through(port: number, target: number): Promise<Socket> {
  const socket = client(port);
  socket.write(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\n\r\n`);
  const expected = "HTTP/1.1 200 Connection established\r\n\r\n";
  expect((await take(socket, expected.length)).toString()).toBe(expected);
  return socket;
}

async function echoes(socket: Socket, text: string): Promise<void> {
  socket.write(text);
  expect((await take(socket, text.length)).toString()).toBe(text);
}

test("every worker accepts by itself, and all see all connections", async () => {
  const { proxy, echo } = await start();
  const [{ port }] = proxy.endpoints;
  const sockets: Socket[] = [];
  // The kernel decides who gets a connection; sooner or later each worker does.
  while (proxy.countersOf(1).accepted === 0 || proxy.countersOf(2).accepted === 0) {
    const burst = await Promise.all(Array.from({ length: 16 }, () => through(port, echo.port)));
    sockets.push(...burst);
  }
  for (const socket of sockets) await echoes(socket, "hello");
  const connections = await proxy.connections();
  expect(connections.length).toBe(sockets.length);
  expect(new Set(connections.map(({ cpu }) => cpu))).toEqual(new Set([1, 2]));
  expect(connections.every(({ clientBytes, state }) => clientBytes === 5 && state === "relaying")).toBe(true);
  expect(await proxy.kill(connections[0].id)).toBe(true);
  expect(await proxy.kill(connections[0].id)).toBe(false);
  await until(() => proxy.status().connections === sockets.length - 1);
  for (const socket of sockets) socket.destroy();
  await until(() => proxy.status().connections === 0);
  const { accepted, closed } = proxy.status().counters;
  expect(accepted).toBe(closed);
});

test("a reload takes effect in every worker, keeps connections, and a wrong one changes nothing", async () => {
  const { proxy, echo } = await start();
  const [{ port }] = proxy.endpoints;
  const socket = await through(port, echo.port);
  const added: ListenerConfig = {
    name: "more",
    kind: "forward",
    listen: "127.0.0.1:0",
    target: `127.0.0.1:${echo.port}`,
  };
  await proxy.reload({ ...proxy.config, listeners: [mixed, added] });
  const direct = client(proxy.endpoints[1].port);
  await echoes(direct, "forwarded");
  await echoes(socket, "still here");
  await expect(proxy.reload({ ...proxy.config, version: 2 as 1 })).rejects.toMatchObject({
    code: "DATAPLANE_INVALID_CONFIG",
  });
  const taken: ListenerConfig = { name: "taken", kind: "mixed", listen: `127.0.0.1:${echo.port}` };
  await expect(proxy.reload({ ...proxy.config, listeners: [taken] })).rejects.toMatchObject({ code: "RELAY_LISTEN" });
  await echoes(socket, "and still");
  await proxy.reload({ ...proxy.config, listeners: [mixed], users: { joe: "x" } });
  const refused = client(port);
  refused.write(`CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n\r\n`);
  expect((await drain(refused)).bytes.toString()).toContain("407");
  await echoes(socket, "for ever");
  await echoes(direct, "the listener has gone, the connection has not");
  socket.destroy();
  direct.destroy();
});

test("streams are right while the configuration is replaced again and again", async () => {
  const { proxy, echo } = await start();
  const [{ port }] = proxy.endpoints;
  const over = new AbortController();
  const reloads = (async () => {
    let count = 0;
    for (; !over.signal.aborted; count++) {
      await proxy.reload({ ...proxy.config, timeouts: { idleMs: 60_000 + count } });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return count;
  })();
  await Promise.all(
    Array.from({ length: 6 }, async (_, index) => {
      const socket = await through(port, echo.port);
      const sent = patterned(2_000_000, index);
      socket.end(sent);
      const { bytes, error } = await drain(socket);
      expect([error, digest(bytes)]).toEqual(["", digest(sent)]);
    }),
  );
  over.abort();
  expect(await reloads).toBeGreaterThan(0);
  await until(() => proxy.status().connections === 0);
});

test("a worker that dies is replaced, and costs only its own connections", async () => {
  const { proxy, echo, messages } = await start();
  const [{ port }] = proxy.endpoints;
  const sockets: Socket[] = [];
  while (proxy.countersOf(1).accepted === 0 || proxy.countersOf(2).accepted === 0) {
    sockets.push(...(await Promise.all(Array.from({ length: 8 }, () => through(port, echo.port)))));
  }
  const owners = new Map((await proxy.connections()).map(({ client, cpu }) => [client, cpu]));
  await proxy.worker(1).terminate();
  await until(() => proxy.status().workersReplaced === 1);
  await until(() => echo.sockets.size === [...owners.values()].filter((cpu) => cpu === 2).length);
  for (const socket of sockets) {
    if (owners.get(`127.0.0.1:${socket.localPort}`) === 2) await echoes(socket, "alive");
  }
  await until(() => messages.some((text) => text.includes("worker 1 has ended")));
  const before = proxy.countersOf(1).accepted;
  const fresh: Socket[] = [];
  while (proxy.countersOf(1).accepted === before) fresh.push(await through(port, echo.port));
  for (const socket of [...sockets, ...fresh]) socket.destroy();
  await until(() => proxy.status().connections === 0);
  const { accepted, closed } = proxy.status().counters;
  expect(accepted).toBe(closed);
});

test("a drain takes nothing new, and waits for what is open", async () => {
  const { proxy, echo } = await start();
  const [{ port }] = proxy.endpoints;
  const [brief, long] = [await through(port, echo.port), await through(port, echo.port)];
  const drained = proxy.drain(600_000);
  await until(() => proxy.status().isDraining);
  await echoes(brief, "finishing");
  brief.end();
  await drain(brief);
  await refuses(port);
  await echoes(long, "not yet");
  long.end();
  expect(await drained).toBe(0);
});

test("a drain ends what is left at its deadline", async () => {
  const { proxy, echo } = await start();
  const socket = await through(proxy.endpoints[0].port, echo.port);
  expect(await proxy.drain(50)).toBe(1);
  expect((await drain(socket)).error).toBe("ECONNRESET");
});

/** Until nobody listens there any more. */
async function refuses(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    const error = await new Promise<string>((resolve) => {
      socket.once("connect", () => resolve(""));
      socket.once("error", (failure: NodeJS.ErrnoException) => resolve(failure.code ?? "error"));
    });
    socket.on("error", () => undefined);
    socket.destroy();
    if (error === "ECONNREFUSED") return;
  }
}

test("the access log has a line for every connection, also over a rotation", async () => {
  const path = join(folder, "access.log");
  const { proxy, echo } = await start({ accessLog: path });
  const [{ port }] = proxy.endpoints;
  const run = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const socket = await through(port, echo.port);
      await echoes(socket, "12345");
      socket.destroy();
    }
  };
  await run(10);
  renameSync(path, `${path}.1`);
  await proxy.reopenLogs();
  await run(10);
  await until(() => proxy.status().connections === 0);
  await proxy.close();
  expect(existsSync(path)).toBe(true);
  // All may have been written behind the rotation.
  const lines = [path, `${path}.1`].flatMap((file) => readFileSync(file, "utf8").match(/.+/g) ?? []);
  const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(records.length).toBe(20);
  for (const record of records) {
    expect(record).toMatchObject({
      listener: "mixed",
      protocol: "http",
      target: `127.0.0.1:${echo.port}`,
      clientBytes: 5,
      serverBytes: 5,
    });
  }
});

test("Unix sockets, also over one that a killed process has left behind", async () => {
  const path = join(folder, "proxy.sock");
  const listener: ListenerConfig = { kind: "http", listen: `unix:${path}` };
  const { proxy, echo } = await start({ listeners: [listener] });
  const socket = connect(path);
  socket.write(`CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n\r\nover a path`);
  await take(socket, "HTTP/1.1 200 Connection established\r\n\r\n".length);
  expect((await take(socket, 11)).toString()).toBe("over a path");
  socket.destroy();
  await expect(startProxy({ version: 1, workers: 1, listeners: [listener] })).rejects.toMatchObject({
    code: "RELAY_LISTEN",
  });
  await proxy.close();
});

test("the control socket answers, and says what is wrong", async () => {
  const path = join(folder, "control.sock");
  const { proxy, echo } = await start();
  const actions = { reload: () => proxy.reload(proxy.config), drain: () => undefined };
  const server = await serveControl(proxy, path, actions);
  cleanups.push(() => server.close());
  const socket = await through(proxy.endpoints[0].port, echo.port);
  const connections = (await control(path, "GET", "/connections")) as { id: number; target: string }[];
  expect(connections.map(({ target }) => target)).toEqual([`127.0.0.1:${echo.port}`]);
  expect(await control(path, "POST", `/kill?id=${connections[0].id}`)).toEqual({ ended: true });
  expect((await drain(socket)).error).toBe("ECONNRESET");
  expect(await control(path, "POST", "/reload")).toEqual({ version: proxy.status().configVersion });
  await expect(control(path, "POST", "/nonsense")).rejects.toMatchObject({ code: "RELAY_CONTROL" });
  await expect(control(`${path}.none`, "GET", "/status")).rejects.toMatchObject({ code: "RELAY_CONTROL" });
});

/** A server that answers every datagram with itself and a mark. */
async function datagramServer(): Promise<number> {
  const server = createSocket("udp4");
  server.on("message", (message, from) => server.send(`${message.toString()}!`, from.port, from.address));
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  return server.address().port;
}

test("clients of a UDP listener are spread over all workers, where the system does that, and each stays with its own", async () => {
  const target = `127.0.0.1:${await datagramServer()}`;
  const { proxy, messages } = await start({ listeners: [{ kind: "udp", listen: "127.0.0.1:0", target }] });
  const [{ port }] = proxy.endpoints;
  const clients = Array.from({ length: 24 }, () => createSocket("udp4"));
  const answers = clients.map((socket) => {
    let count = 0;
    socket.on("message", () => count++);
    cleanups.push(() => socket.close());
    return () => count;
  });
  for (let round = 1; round <= 3; round++) {
    // Loopback loses nothing that fits into its buffers.
    for (const socket of clients) socket.send("x", port, "127.0.0.1");
    await until(() => answers.every((count) => count() === round));
  }
  const flows = await proxy.connections();
  const isSpread = messages.some((text) => text.startsWith("engine epoll"));
  const [major, minor] = process.versions.node.split(".").map(Number);
  const nodeShares = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  expect(flows.map(({ clientBytes }) => clientBytes)).toEqual(clients.map(() => 3));
  expect(new Set(flows.map(({ cpu }) => cpu)).size).toBe(isSpread || nodeShares ? 2 : 1);
  expect(messages.filter((text) => text.startsWith("UDP listeners are served by one worker each")).length).toBe(
    isSpread || nodeShares ? 0 : 1,
  );
});

test("a UDP listener outlives reloads, and the death of the worker that a client is with", async () => {
  const target = await datagramServer();
  const mine = createSocket("udp4");
  cleanups.push(() => mine.close());
  const got: string[] = [];
  mine.on("message", (message) => got.push(message.toString()));
  const udp: ListenerConfig = { kind: "udp", listen: "127.0.0.1:0", target: `127.0.0.1:${target}` };
  const { proxy } = await start({ listeners: [udp] });
  const [{ port }] = proxy.endpoints;
  /** Until there is an answer: a network loses datagrams, and nobody listens while a worker is replaced. */
  const answered = async (text: string): Promise<void> => {
    while (!got.includes(`${text}!`)) {
      mine.send(text, port, "127.0.0.1");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await answered("first");
  const [flow] = await proxy.connections();
  expect(flow).toMatchObject({ state: "datagrams", target: udp.target });
  expect([flow.clientBytes % 5, flow.clientBytes > 0]).toEqual([0, true]);
  await proxy.reload({ ...proxy.config, timeouts: { idleMs: 1000 } });
  await answered("second");
  expect((await proxy.connections()).map(({ id }) => id)).toEqual([flow.id]);
  await proxy.worker(flow.cpu).terminate();
  await answered("third");
  expect((await proxy.connections()).length).toBe(1);
  await proxy.reload({ ...proxy.config, listeners: [mixed] });
  await until(() => proxy.status().connections === 0);
});

test("limits of clients are of all workers together, and what a dead worker held is given back", async () => {
  const { proxy, echo } = await start({ limits: { connectionsPerClient: 40 } });
  const [{ port }] = proxy.endpoints;
  const open: Socket[] = [];
  while (open.length < 40) open.push(await through(port, echo.port));
  const refused = client(port);
  expect((await drain(refused)).bytes.length).toBe(0);
  expect(proxy.status().counters.overLimit).toBe(1);
  await proxy.worker((await proxy.connections())[0].cpu).terminate();
  await until(() => proxy.status().workersReplaced === 1);
  const left = proxy.status().connections;
  expect(left).toBeLessThan(40);
  for (let i = left; i < 40; i++) open.push(await through(port, echo.port));
  for (const socket of open) socket.destroy();
  await until(() => proxy.status().connections === 0);
});

test("a proxy that cannot listen does not start, and leaves nothing running", async () => {
  const taken = await listen(() => undefined);
  cleanups.push(taken.close);
  const config: RelayConfig = {
    version: 1,
    workers: 2,
    listeners: [mixed, { kind: "mixed", listen: `127.0.0.1:${taken.port}` }],
  };
  await expect(startProxy(config)).rejects.toMatchObject({ code: "RELAY_LISTEN" });
});

test("files of the test are removed", () => {
  rmSync(folder, { recursive: true, force: true });
  expect(existsSync(folder)).toBe(false);
});
