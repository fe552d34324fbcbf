import { createHash, randomFillSync } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/*
 * Clients and a server that make every kind of trouble a proxy sees, and know which bytes were to come. A client says in nine bytes what the
 * server shall do:
 *
 *     mode (1) │ offset (4) │ length (4)      of the bytes of POOL that the answer is
 */
const POOL = Buffer.alloc(1 << 22);
randomFillSync(POOL);
const HEAD_BYTES = 9;

/** What the server does: send back, send and end, send half and reset, wait for the client's end and then send. */
const Mode = { Echo: 1, Download: 2, Reset: 3, Late: 4 } as const;

/** A random number below `below`, from a generator that a seed starts. */
export type Random = (below: number) => number;

export function seeded(seed: number): Random {
  let state = seed | 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return Math.floor(((state >>> 8) / 0x1000000) * below);
  };
}

function sha(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("hex");
}

/** The server, on a port of the loopback address. */
export async function troubleServer(): Promise<{
  readonly port: number;
  readonly open: Set<Socket>;
  readonly server: Server;
}> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => socket.destroy());
    let head = Buffer.alloc(0);
    const onData = (part: Buffer): void => {
      head = Buffer.concat([head, part]);
      if (head.length < HEAD_BYTES) return;
      socket.off("data", onData);
      answer(socket, head);
    };
    socket.on("data", onData);
    socket.on("end", () => {
      if (head.length < HEAD_BYTES) socket.end();
    });
  });
  server.listen(0, "127.0.0.1", 4096);
  await once(server, "listening");
  return { port: (server.address() as { port: number }).port, open, server };
}

function answer(socket: Socket, head: Buffer): void {
  const [mode, offset, length] = [head[0], head.readUInt32BE(1), head.readUInt32BE(5)];
  const bytes = POOL.subarray(offset, offset + length);
  if (mode === Mode.Echo) {
    socket.write(head.subarray(HEAD_BYTES));
    socket.pipe(socket);
    return;
  }
  socket.resume();
  if (mode === Mode.Download) socket.end(bytes);
  else if (mode === Mode.Late) socket.on("end", () => socket.end(bytes));
  else socket.write(bytes.subarray(0, length / 2), () => socket.resetAndDestroy());
}

/**
 * How a connection went: right to the last byte; broken off after right bytes, as it was meant to be; not served, as it was meant to be; cut
 * off or turned away for no reason of its own, though all bytes were right; or wrong.
 */
export type Outcome = "whole" | "broken" | "refused" | "cut" | "wrong";

/** What the clients talk to. */
export interface Road {
  readonly proxyPort: number;
  readonly targetPort: number;
  /** Where nobody listens. */
  readonly deadPort: number;
}

/** One connection of a random kind. */
export async function trouble(road: Road, random: Random): Promise<Outcome> {
  const kind = random(16);
  if (kind === 0) return stalled(road, random);
  if (kind === 1) return nobody(road, random);
  const length = random(8) === 0 ? random(1 << 19) : random(1 << 15);
  const offset = random(POOL.length - length);
  const bytes = POOL.subarray(offset, offset + length);
  if (kind < 7) return talk(road, random, { mode: Mode.Echo, offset, length, sent: bytes, expected: bytes });
  if (kind < 11) return talk(road, random, { mode: Mode.Download, offset, length, expected: bytes });
  if (kind < 13) return talk(road, random, { mode: Mode.Late, offset, length, sent: bytes, expected: bytes });
  if (kind < 14) return talk(road, random, { mode: Mode.Reset, offset, length, expected: bytes, isBroken: true });
  return talk(road, random, { mode: Mode.Echo, offset, length, sent: bytes, expected: bytes, isBroken: true });
}

interface Talk {
  readonly mode: number;
  readonly offset: number;
  readonly length: number;
  readonly sent?: Buffer;
  readonly expected: Buffer;
  /** A side resets on the way. */
  readonly isBroken?: boolean;
}

async function talk(road: Road, random: Random, how: Talk): Promise<Outcome> {
  const socket = await open(road.proxyPort, road.targetPort, random);
  if (socket === undefined) return "cut";
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = how.mode;
  head.writeUInt32BE(how.offset, 1);
  head.writeUInt32BE(how.length, 5);
  socket.write(head);
  if (how.sent !== undefined) socket.write(how.sent);
  // Late answers need the end of the client's direction; others have it half of the time, the client's own end later otherwise.
  if (how.isBroken !== true && (how.mode !== Mode.Download || random(2) === 0)) socket.end();
  if (how.isBroken === true && how.mode === Mode.Echo) setTimeout(() => socket.resetAndDestroy(), random(20));
  const isSlow = random(8) === 0;
  const parts: Buffer[] = [];
  let isWhole = false;
  socket.on("end", () => {
    isWhole = true;
    socket.end();
  });
  socket.on("data", (part: Buffer) => {
    parts.push(part);
    if (!isSlow) return;
    socket.pause();
    setTimeout(() => socket.resume(), random(5));
  });
  if (!socket.closed) await once(socket, "close").catch(() => undefined);
  const got = Buffer.concat(parts);
  if (isWhole && sha(got) === sha(how.expected)) return "whole";
  if (sha(got) !== sha(how.expected.subarray(0, got.length))) return "wrong";
  return how.isBroken === true ? "broken" : "cut";
}

/** A client that does not finish its request: it waits to be closed, or goes away. */
async function stalled({ proxyPort }: Road, random: Random): Promise<Outcome> {
  const socket = connect(proxyPort, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.resume();
  socket.write(["CONNECT 127.", "\u0005", "\u0004\u0001", "GET http://a/ HTTP/1.1\r\nA: "][random(4)]);
  if (random(2) === 0) setTimeout(() => socket.destroy(), random(50));
  await once(socket, "close").catch(() => undefined);
  return "refused";
}

async function nobody(road: Road, random: Random): Promise<Outcome> {
  const socket = await open(road.proxyPort, road.deadPort, random);
  socket?.destroy();
  return socket === undefined ? "refused" : "wrong";
}

/** A connection through the proxy by a random protocol; undefined: it was not served. */
async function open(proxyPort: number, target: number, random: Random): Promise<Socket | undefined> {
  const socket = connect({ port: proxyPort, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  socket.on("error", () => undefined);
  const port = [target >>> 8, target & 255];
  const kind = random(3);
  if (kind === 0) socket.write(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\n\r\n`);
  else if (kind === 1) socket.write(Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, ...port]));
  else socket.write(Buffer.from([4, 1, ...port, 127, 0, 0, 1, 0]));
  const [length, at, granted] = [
    [39, 9, "2".charCodeAt(0)],
    [12, 3, 0],
    [8, 1, 90],
  ][kind];
  const reply = await take(socket, length);
  if (reply?.[at] === granted) return socket;
  socket.destroy();
  return undefined;
}

function take(socket: Socket, count: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const look = (): void => {
      const bytes = socket.read(count) as Buffer | null;
      if (bytes !== null) done(bytes);
    };
    const gone = (): void => done(undefined);
    const done = (bytes: Buffer | undefined): void => {
      socket.off("readable", look);
      socket.off("end", gone);
      socket.off("close", gone);
      resolve(bytes?.length === count ? bytes : undefined);
    };
    socket.on("readable", look);
    socket.on("end", gone);
    socket.on("close", gone);
  });
}
