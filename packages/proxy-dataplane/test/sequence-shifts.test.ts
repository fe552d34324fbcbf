import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PacketInfo, parseFrame, type AddedNode, type Dataplane, type PacketPool } from "@x/proxy-dataplane";
import { be16, be32, bytes, ethernet, internetSum, ipv4, ipv6, udp4, udp6 } from "./frames.ts";
import { configOf, machine, server, type Machine } from "./machine.ts";
import { ACK, sums, SYN } from "./traffic.ts";

const CLIENT = [10, 0, 0, 1];
const FAR = [10, 0, 0, 2];
const FAR6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const CLIENT6 = [...FAR6.slice(0, 15), 1];

interface Segment {
  back?: boolean;
  isIpv6?: boolean;
  flags?: number;
  seq: number;
  ack: number;
  text?: string;
  options?: number[];
}

function segment({
  back = false,
  isIpv6 = false,
  flags = ACK,
  seq,
  ack,
  text = "",
  options = [],
}: Segment): Uint8Array {
  const [near, far] = isIpv6 ? [CLIENT6, FAR6] : [CLIENT, FAR];
  const [source, destination] = back ? [far, near] : [near, far];
  const ports = back ? [...be16(80), ...be16(1000)] : [...be16(1000), ...be16(80)];
  const make = (sum: number): Uint8Array =>
    bytes(
      ports,
      be32(seq),
      be32(ack),
      ((20 + options.length) / 4) << 4,
      flags,
      be16(60_000),
      be16(sum),
      be16(0),
      options,
      new TextEncoder().encode(text),
    );
  const plain = make(0);
  const sum = ~internetSum(bytes(source, destination, be16(plain.length), be16(6), plain)) & 0xffff;
  return isIpv6
    ? ethernet(0x86dd, ipv6(6, make(sum), { source, destination }))
    : ethernet(0x800, ipv4(6, make(sum), { source, destination }));
}

interface Read {
  readonly seq: number;
  readonly ack: number;
  readonly text: string;
  readonly options: number[];
}

function read(frame: Uint8Array): Read {
  const info = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, 1, info);
  const end = info.transportOffset + info.transportHeaderLength;
  return {
    seq: info.tcpSequence >>> 0,
    ack: info.tcpAcknowledgement >>> 0,
    text: new TextDecoder().decode(frame.subarray(end, info.networkEnd)),
    options: [...frame.subarray(info.transportOffset + 20, end)],
  };
}

/** A node as an application's protocol needs it: whatever text is longer or shorter on the far side. */
function replacer(pairs: Readonly<Record<string, string>>): {
  readonly node: AddedNode;
  readonly use: (m: Machine) => Machine;
} {
  let dataplane: Dataplane | undefined;
  let pool: PacketPool | undefined;
  const node: AddedNode = {
    name: "replace",
    after: "route",
    process(vector, positions, count) {
      for (let p = 0; p < count; p++) {
        const i = positions[p];
        if (vector.values[i] === 0 || pool === undefined) continue;
        const { offsets, lengths } = pool.columns;
        for (const [from, to] of Object.entries(pairs)) {
          const now = vector.packets[i];
          const { text } = read(pool.bytes.slice(offsets[now], offsets[now] + lengths[now]));
          const at = text.indexOf(from);
          if (at >= 0) dataplane?.replacePayload(vector, i, at, from.length, new TextEncoder().encode(to));
        }
      }
      return count;
    },
  };
  return {
    node,
    use: (m) => {
      ({ dataplane, pool } = m);
      return m;
    },
  };
}

function open(pairs: Readonly<Record<string, string>>, isIpv6 = false): Machine {
  const { node, use } = replacer(pairs);
  const m = use(machine({ initial: configOf([]), nodes: [node] }));
  m.send([segment({ isIpv6, flags: SYN, seq: 999, ack: 0 })]);
  m.send([segment({ isIpv6, back: true, flags: SYN | ACK, seq: 4999, ack: 1000 })]);
  m.send([segment({ isIpv6, seq: 1000, ack: 5000 })]);
  return m;
}

describe.each([
  ["IPv4", false],
  ["IPv6", true],
])("a payload that becomes longer, %s", (_, isIpv6) => {
  test("moves what its sender says behind it, and moves back what its receiver acknowledges", () => {
    const m = open({ "PORT 1": "PORT 12345" }, isIpv6);
    const through = (one: Segment): Read => {
      const [frame] = m.send([segment({ ...one, isIpv6 })]);
      expect(sums(frame)).toEqual([isIpv6 ? 0 : 1, 1]);
      return read(frame);
    };
    expect(through({ seq: 1000, ack: 5000, text: "PORT 1\r\n" })).toMatchObject({
      seq: 1000,
      ack: 5000,
      text: "PORT 12345\r\n",
    });
    expect(through({ back: true, seq: 5000, ack: 1012, text: "OK" })).toMatchObject({
      seq: 5000,
      ack: 1008,
      text: "OK",
    });
    expect(through({ seq: 1008, ack: 5002, text: "more" })).toMatchObject({ seq: 1012, ack: 5002, text: "more" });
    // It comes again: changed again, counted once.
    expect(through({ seq: 1000, ack: 5002, text: "PORT 1\r\n" })).toMatchObject({ seq: 1000, text: "PORT 12345\r\n" });
    expect(through({ back: true, seq: 5002, ack: 1016 })).toMatchObject({ ack: 1012 });
    expect(m.dataplane.details().outOfWindow).toBe(0);
    expect(m.pool.inUse).toBe(0);
  });
});

test("selective acknowledgements are moved back, those of before the change by what was before it", () => {
  const m = open({ one: "three" });
  m.send([segment({ seq: 1000, ack: 5000, text: "0123456789" }), segment({ seq: 1010, ack: 5000, text: "one" })]);
  m.send([segment({ seq: 1013, ack: 5000, text: "x".repeat(50) })]);
  const sack = [1, 1, 5, 18, ...be32(1000), ...be32(1010), ...be32(1030), ...be32(1065)];
  const [frame] = m.send([segment({ back: true, seq: 5000, ack: 1000, options: sack })]);
  expect(read(frame).options).toEqual([1, 1, 5, 18, ...be32(1000), ...be32(1010), ...be32(1028), ...be32(1063)]);
  expect(sums(frame)).toEqual([1, 1]);
  // At an odd place of the header too.
  const odd = [1, 5, 10, ...be32(1030), ...be32(1065), 0];
  const [second] = m.send([segment({ back: true, seq: 5000, ack: 1000, options: odd })]);
  expect(read(second).options).toEqual([1, 5, 10, ...be32(1028), ...be32(1063), 0]);
  expect(sums(second)).toEqual([1, 1]);
});

test("both directions change at once, with translation, and the window is judged in each side's own numbers", () => {
  const { node, use } = replacer({ ping: "p", pong: "pong pong pong" });
  const initial = configOf([server("10.0.0.2", { port: 80 })], {
    translation: { source: [{ to: ["203.0.113.4"] }] },
    bypass: [],
  });
  const m = use(machine({ initial, nodes: [node] }));
  const asked = (one: Segment): Uint8Array => {
    const frame = segment(one);
    return frame;
  };
  m.send([asked({ flags: SYN, seq: 999, ack: 0 })]);
  const [connection] = [...m.dataplane.connections()];
  expect(connection.sourceTranslated).toBe(true);
  m.send([asked({ seq: 1000, ack: 5000, text: "ping" })]);
  const [next] = m.send([asked({ seq: 1004, ack: 5000, text: "ping" })]);
  expect(read(next)).toMatchObject({ seq: 1001, text: "p" });
  expect(sums(next)).toEqual([1, 1]);
});

test("a stream of edits reaches the other side whole, in order, and acknowledged to the byte, whatever is edited", () => {
  const word = fc.constantFrom("stay", "grow", "shrink", "same");
  const edits = { grow: "grow-grow-grow", shrink: "s", same: "SAME" };
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), word), { minLength: 1, maxLength: 40 }), (turns) => {
      const m = open(edits);
      // What each side has said and heard: [client, server].
      const said = [1000, 5000];
      const heard = [5000, 1000];
      const texts = ["", ""];
      const wanted = ["", ""];
      for (const [back, text] of turns) {
        const [me, other] = back ? [1, 0] : [0, 1];
        const [frame] = m.send([segment({ back, seq: said[me], ack: heard[me], text })]);
        expect(sums(frame)).toEqual([1, 1]);
        const got = read(frame);
        said[me] += text.length;
        // The receiver takes it only where it goes on, and sees acknowledged exactly what it has said.
        expect(got.seq).toBe(heard[other]);
        expect(got.ack).toBe(said[other]);
        heard[other] += got.text.length;
        texts[me] += got.text;
        wanted[me] += text in edits ? edits[text as keyof typeof edits] : text;
      }
      expect(texts).toEqual(wanted);
      expect(m.dataplane.details().outOfWindow).toBe(0);
      expect(m.pool.inUse).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test("several changes in one segment are counted together, and once when it comes again", () => {
  const m = open({ one: "1", two: "second", three: "3rd" });
  const first = segment({ seq: 1000, ack: 5000, text: "one two three" });
  for (let round = 0; round < 2; round++) {
    const [frame] = m.send([first]);
    expect(read(frame)).toMatchObject({ seq: 1000, text: "1 second 3rd" });
    expect(sums(frame)).toEqual([1, 1]);
  }
  const [next] = m.send([segment({ seq: 1013, ack: 5000, text: "." })]);
  expect(read(next)).toMatchObject({ seq: 1012, text: "." });
});

test("a connection that begins anew begins with its own numbers", () => {
  const m = open({ grow: "grow-grow" });
  m.send([segment({ seq: 1000, ack: 5000, text: "grow" })]);
  m.send([segment({ back: true, flags: 4, seq: 5000, ack: 0 })]);
  const [again] = m.send([segment({ flags: SYN, seq: 77, ack: 0 })]);
  expect(read(again).seq).toBe(77);
  m.send([segment({ back: true, flags: SYN | ACK, seq: 200, ack: 78 })]);
  const [data] = m.send([segment({ seq: 78, ack: 201, text: "hi" })]);
  expect(read(data)).toMatchObject({ seq: 78, ack: 201 });
});

describe("replacing", () => {
  test("in datagrams keeps lengths and checksums right, and no checksum none", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 60 }),
        fc.uint8Array({ maxLength: 60 }),
        fc.nat(60),
        fc.nat(60),
        fc.boolean(),
        fc.boolean(),
        (payload, replacement, from, more, isIpv6, noSum) => {
          const offset = Math.min(from, payload.length);
          const length = Math.min(more, payload.length - offset);
          let done = false;
          const node: AddedNode = {
            name: "edit",
            after: "route",
            process(vector, positions, count) {
              done = m.dataplane.replacePayload(vector, positions[0], offset, length, replacement);
              return count;
            },
          };
          const m = machine({ initial: configOf([]), nodes: [node] });
          const frame = (isIpv6 ? udp6 : udp4)({}, payload);
          if (noSum && !isIpv6) frame.set([0, 0], 40);
          const clone = m.packet(frame);
          const shared = m.pool.clone(clone);
          const out = new Int32Array(1);
          m.dataplane.process(Int32Array.of(clone), 1, out);
          const got = m.read(out[0]);
          expect(done).toBe(true);
          const wanted = bytes(payload.subarray(0, offset), replacement, payload.subarray(offset + length));
          expect([...got.subarray(isIpv6 ? 62 : 42)]).toEqual([...wanted]);
          expect(sums(got)).toEqual([isIpv6 ? 0 : 1, noSum && !isIpv6 ? 0 : 1]);
          expect(m.read(shared)).toEqual(frame);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("is refused where the packet is not here whole or does not fit, and an error for bytes that are not there", () => {
    let result: unknown;
    const node: AddedNode = {
      name: "edit",
      after: "route",
      process(vector, positions, count) {
        try {
          result = m.dataplane.replacePayload(vector, positions[0], 4, 10, new Uint8Array(size));
        } catch (error) {
          result = (error as { code: string }).code;
        }
        return count;
      },
    };
    const m = machine({ initial: configOf([]), nodes: [node] });
    let size = 20;
    m.send([udp4({}, new Uint8Array(13))]);
    expect(result).toBe("DATAPLANE_INVALID_ARGUMENT");
    const frame = udp4({}, new Uint8Array(100));
    const cut = m.pool.alloc();
    m.pool.write(cut, frame, 0, 60, frame.length);
    m.dataplane.process(Int32Array.of(cut), 1, new Int32Array(1));
    expect(result).toBe(false);
    size = 1;
    const part = ethernet(0x800, ipv4(17, frame.subarray(34, 98), { fragment: 0x2000 }));
    expect(m.send([part])).toEqual([part]);
    expect(result).toBe(false);
    size = 2040;
    expect(m.send([frame])).toEqual([frame]);
    expect(result).toBe(false);
  });
});
