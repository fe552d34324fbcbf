// Whether what passes is what was sent: streams of random bytes to a reader that stops and goes, compared by their hashes.
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";

const STREAMS = 8;
const CHUNKS = 40;
const CHUNK_BYTES = 1 << 20;
/** Beside the load's servers, so that the forwarding listeners lead elsewhere: the proxy is asked by its protocol. */
const PORT_OFFSET = 9;

/** Throws where a stream arrives otherwise than it was sent. */
export async function checkContent({ name, port, protocol }, target) {
  const [hashes, server] = await receiver(target + PORT_OFFSET);
  // Ours takes every protocol on its fourth port.
  const way = protocol === undefined ? { port: port + 3, protocol: "connect" } : { port, protocol };
  const sent = await Promise.all(Array.from({ length: STREAMS }, () => send(way, target + PORT_OFFSET)));
  while (hashes.length < STREAMS) await new Promise((resolve) => setTimeout(resolve, 5));
  server.close();
  if (sent.toSorted().join() !== hashes.toSorted().join())
    throw new Error(`${name}: streams arrive otherwise than sent`);
  console.log(`${name.padEnd(26)} ${STREAMS} streams of ${(CHUNKS * CHUNK_BYTES) >> 20} MB arrive as they were sent`);
}

async function receiver(port) {
  const hashes = [];
  const server = createServer((socket) => {
    const hash = createHash("sha256");
    let parts = 0;
    socket.on("data", (part) => {
      hash.update(part);
      if (++parts % 50 !== 0) return;
      socket.pause();
      setTimeout(() => socket.resume(), 2);
    });
    socket.on("end", () => hashes.push(hash.digest("hex")));
    socket.on("error", () => hashes.push("broken"));
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return [hashes, server];
}

async function send({ port, protocol }, target) {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const port2 = [target >>> 8, target & 255];
  if (protocol === "socks5") {
    socket.write(Buffer.from([5, 1, 0]));
    await once(socket, "data");
    socket.write(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, ...port2]));
  } else socket.write(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\nHost: 127.0.0.1:${target}\r\n\r\n`);
  await once(socket, "data");
  const hash = createHash("sha256");
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    const bytes = randomBytes(CHUNK_BYTES);
    hash.update(bytes);
    if (!socket.write(bytes)) await once(socket, "drain");
  }
  socket.end();
  socket.resume();
  return hash.digest("hex");
}
