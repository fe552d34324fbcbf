import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A server of the test on the loopback address, its port, and the sockets it has open. */
export interface Peer {
  readonly port: number;
  readonly sockets: ReadonlySet<Socket>;
  readonly close: () => Promise<void>;
}

export async function listen(onSocket: (socket: Socket) => void): Promise<Peer> {
  const sockets = new Set<Socket>();
  let closing = false;
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    // One that was still waiting to be accepted would keep the server open for ever.
    if (closing) socket.destroy();
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
    onSocket(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as { port: number }).port,
    sockets,
    close: async () => {
      closing = true;
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** How sockets of clients failed: a failure may come before anybody waits for it. */
const errors = new WeakMap<Socket, string>();

/** A client's socket; what it does not expect makes the test fail where it waits for it. */
export function client(port: number): Socket {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", (error: NodeJS.ErrnoException) => errors.set(socket, error.code ?? "error"));
  return socket;
}

/** Exactly `count` bytes. Rejects where the stream ends before. */
export function take(socket: Socket, count: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const bytes = count === 0 ? Buffer.alloc(0) : (socket.read(count) as Buffer | null);
      if (bytes === null) return;
      done();
      if (bytes.length === count) resolve(bytes);
      else reject(new Error(`ended after ${bytes.length} of ${count} bytes: ${bytes.toString("latin1")}`));
    };
    const ended = (): void => {
      done();
      reject(new Error(`closed before ${count} bytes`));
    };
    const done = (): void => {
      socket.off("readable", look);
      socket.off("close", ended);
      socket.off("end", ended);
    };
    socket.on("readable", look);
    socket.on("close", ended);
    socket.on("end", ended);
    look();
    if (socket.closed && socket.readableLength === 0) ended();
  });
}

/** All there is until the peer ends its direction; `error` where it is reset. */
export function drain(socket: Socket): Promise<{ readonly bytes: Buffer; readonly error: string }> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const done = (): void => resolve({ bytes: Buffer.concat(parts), error: errors.get(socket) ?? "" });
    socket.on("data", (part: Buffer) => parts.push(part));
    socket.on("end", done);
    socket.on("close", done);
    if (socket.closed || socket.readableEnded) done();
  });
}

/** Bytes that are nowhere the same: a stream that loses, doubles or mixes any is found out. */
export function patterned(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = (seed * 2654435761) | 1;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

export function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Wait until something holds, however long it takes; the test's own time limit ends it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A port that nobody uses at the moment. */
export async function freePort(): Promise<number> {
  const holder = createServer().listen(0, "127.0.0.1");
  await once(holder, "listening");
  const { port } = holder.address() as { port: number };
  holder.close();
  await once(holder, "close");
  return port;
}
