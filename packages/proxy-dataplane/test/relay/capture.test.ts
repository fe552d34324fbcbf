import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import { openCapture, summarizeFlows } from "../../src/index.ts";
import type { Capture } from "../../src/index.ts";
import { captureHeader, TrafficCapture } from "../../src/relay/traffic-capture.ts";
import type { RelayConfig } from "../../src/relay/config.ts";
import type { Endpoint } from "../../src/relay/engine.ts";
import { engines } from "./engines.ts";
import { client, digest, drain, listen, patterned, until } from "./peers.ts";
import { relayOnThread, type RelayOnThread } from "./relay-on-thread.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** One direction of a TCP connection in a capture. */
interface Stream {
  readonly flags: string[];
  payload: Buffer[];
  next: number | undefined;
}

const FLAGS = ["F", "S", "R", "P", "A"];

/**
 * The directions of all TCP connections, by `source>destination`. Fails where a checksum is wrong, a sequence number leaves a gap, or an
 * acknowledgement says something else than has come.
 */
function streamsOf(capture: Capture): Map<string, Stream> {
  const streams = new Map<string, Stream>();
  const { bytes, count, offsets, lengths } = capture;
  for (let i = 0; i < count; i++) {
    const frame = Buffer.from(bytes.subarray(offsets[i], offsets[i] + lengths[i]));
    const isIpv6 = frame.readUInt16BE(12) === 0x86dd;
    if ((isIpv6 ? frame[20] : frame[23]) !== 6) continue;
    const at = 14 + (isIpv6 ? 40 : 20);
    const [from, to] = isIpv6
      ? [frame.subarray(22, 38).toString("hex"), frame.subarray(38, 54).toString("hex")]
      : [frame.subarray(26, 30).join("."), frame.subarray(30, 34).join(".")];
    const [source, destination] = [`${from}:${frame.readUInt16BE(at)}`, `${to}:${frame.readUInt16BE(at + 2)}`];
    const sequence = frame.readUInt32BE(at + 4);
    const flags = FLAGS.filter((_name, bit) => (frame[at + 13] & (1 << bit)) !== 0).join("");
    const payload = frame.subarray(at + (frame[at + 12] >> 4) * 4);
    const own = streams.get(`${source}>${destination}`) ?? { flags: [], payload: [], next: undefined };
    streams.set(`${source}>${destination}`, own);
    expect(sequence).toBe(own.next ?? sequence);
    own.next = (sequence + payload.length + (/[SF]/.test(flags) ? 1 : 0)) >>> 0;
    const other = streams.get(`${destination}>${source}`);
    if (flags.includes("A")) expect(frame.readUInt32BE(at + 8)).toBe(other?.next);
    own.flags.push(flags);
    own.payload.push(payload);
  }
  return streams;
}

/** Every packet is whole, and every checksum of it right. */
function expectChecksums(capture: Capture): void {
  const { packets, ipv4, tcp, udp, malformed, checksums } = summarizeFlows(capture);
  const expected = { ipGood: ipv4, ipBad: 0, tcpGood: tcp, tcpBad: 0, udpGood: udp, udpBad: 0 };
  expect({ malformed, checksums, known: tcp + udp }).toEqual({ malformed: 0, checksums: expected, known: packets });
}

const whole = (traffic: TrafficCapture): Capture =>
  openCapture(Buffer.concat([captureHeader(), traffic.take() ?? Buffer.alloc(0)]));
const CLIENT: Endpoint = { family: 4, host: "192.0.2.1", port: 40_000 };
const SERVER: Endpoint = { family: 4, host: "198.51.100.7", port: 443 };

test("a connection is written from handshake to end, every byte in order, every checksum right", () => {
  const traffic = new TrafficCapture(
    () => 1_700_000_000_123.456,
    () => expect.unreachable(),
  );
  const stream = traffic.stream(CLIENT, SERVER);
  const [up, down] = [patterned(5000, 1), patterned(200_000, 2)];
  stream.onBytes(0, up, 0, up.length);
  stream.end(0);
  stream.onBytes(1, down, 0, down.length);
  stream.close(1, false);
  stream.onBytes(1, down, 0, 1); // Nothing follows the end.
  const capture = whole(traffic);
  expectChecksums(capture);
  const startUs = capture.startSeconds * 1e6 + Math.round(capture.startNanoseconds / 1000);
  expect(startUs).toBe(1_700_000_000_123_456);
  const [client, server] = [...streamsOf(capture).values()];
  expect(digest(Buffer.concat(client.payload))).toBe(digest(up));
  expect(digest(Buffer.concat(server.payload))).toBe(digest(down));
  expect([client.flags[0], server.flags[0], client.flags[1]]).toEqual(["S", "SA", "A"]);
  expect([client, server].map(({ flags }) => flags.filter((each) => each.includes("F")))).toEqual([["FA"], ["FA"]]);
  expect(Math.max(...[...client.payload, ...server.payload].map(({ length }) => length))).toBe(1460);
  expect(summarizeFlows(capture).conversations).toMatchObject([{ proto: "tcp", a: "192.0.2.1", aPort: 40_000 }]);
});

test("a reset is one; ends of different families are written in IPv6 form; a name has an address of its own", () => {
  const traffic = new TrafficCapture(
    () => 0,
    () => expect.unreachable(),
  );
  const stream = traffic.stream({ family: 6, host: "2001:db8::1", port: 1 }, SERVER);
  stream.onBytes(0, Buffer.from("x"), 0, 1);
  stream.close(0, true);
  const capture = whole(traffic);
  expectChecksums(capture);
  const [client] = [...streamsOf(capture).entries()];
  expect(client[0]).toBe("20010db8000000000000000000000001:1>00000000000000000000ffffc6336407:443");
  expect(client[1].flags.at(-1)).toBe("RA");
  expect(["a.test", "b.test", "a.test"].map((name) => traffic.named(name, 80).host)).toEqual([
    "198.18.0.0",
    "198.18.0.1",
    "198.18.0.0",
  ]);
});

test("what nobody takes is lost from some size on, and counted; memory is bounded", () => {
  let lost = 0;
  const traffic = new TrafficCapture(
    () => 0,
    () => lost++,
  );
  const stream = traffic.stream(CLIENT, SERVER);
  const bytes = Buffer.alloc(1 << 20);
  for (let i = 0; i < 12; i++) stream.onBytes(0, bytes, 0, bytes.length);
  const first = traffic.take()!;
  expect(first.length).toBeGreaterThan(7 << 20);
  expect(first.length).toBeLessThan(9 << 20);
  expect(lost).toBeGreaterThan(2000);
  stream.onBytes(0, bytes, 0, 10);
  expect(traffic.take()!.length).toBeGreaterThan(100);
});

describe.each(engines)("%s engine: capture", (_name, make) => {
  async function start(config: Partial<RelayConfig>): Promise<{ relay: RelayOnThread; traffic: TrafficCapture }> {
    const listeners = [{ kind: "mixed", listen: "127.0.0.1:0" }] as const;
    const relay = await relayOnThread({ version: 1, listeners, targets: { allow: ["127.0.0.1"] }, ...config }, make());
    cleanups.push(relay.close);
    const traffic = new TrafficCapture(Date.now, () => expect.unreachable());
    relay.core.capture = traffic;
    return { relay, traffic };
  }

  test("a tunnel's bytes both ways, those that came early too, between client and target", async () => {
    const { relay, traffic } = await start({});
    const echo = await listen((socket) => socket.pipe(socket));
    cleanups.push(echo.close);
    const sent = patterned(300_000, 9);
    const socket = client(relay.ports[0]);
    socket.write(`CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n\r\nearly`);
    socket.end(sent);
    await drain(socket);
    const reset = client(relay.ports[0]);
    reset.write(`CONNECT 127.0.0.1:${echo.port} HTTP/1.1\r\n\r\n`);
    await once(reset, "data");
    reset.resetAndDestroy();
    await until(() => relay.core.size === 0);
    const capture = whole(traffic);
    expectChecksums(capture);
    const streams = [...streamsOf(capture).entries()];
    expect(streams.map(([name]) => name.includes(`127.0.0.1:${echo.port}`))).toEqual([true, true, true, true]);
    const expected = digest(Buffer.concat([Buffer.from("early"), sent]));
    expect(streams.slice(0, 2).map(([, { payload }]) => digest(Buffer.concat(payload)))).toEqual([expected, expected]);
    expect(streams[2][1].flags.at(-1)).toBe("RA");
  });

  test("datagrams of a UDP listener, each way", async () => {
    const server = createSocket("udp4");
    server.on("message", (message, from) => server.send(`${message.toString()}!`, from.port, from.address));
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    const target = `127.0.0.1:${server.address().port}`;
    const { relay, traffic } = await start({ listeners: [{ kind: "udp", listen: "127.0.0.1:0", target }] });
    const mine = createSocket("udp4");
    mine.send("hello", relay.ports[0], "127.0.0.1");
    await once(mine, "message");
    const capture = whole(traffic);
    expectChecksums(capture);
    const texts = Array.from({ length: capture.count }, (_, i) => {
      const frame = Buffer.from(capture.bytes.subarray(capture.offsets[i], capture.offsets[i] + capture.lengths[i]));
      return `${frame.readUInt16BE(34)} ${frame.readUInt16BE(36)} ${frame.subarray(42).toString()}`;
    });
    const [own, far] = [mine.address().port, server.address().port];
    expect(texts).toEqual([`${own} ${far} hello`, `${far} ${own} hello!`]);
    mine.close();
    server.close();
  });
});
