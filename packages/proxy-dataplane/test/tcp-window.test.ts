import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConnectionState, internetChecksum } from "@x/proxy-dataplane";
import { be16, be32, bytes, ethernet, ipv4 } from "./frames.ts";
import { machine, type Machine } from "./machine.ts";
import { ACK, FIN, RST, SERVER, SYN } from "./traffic.ts";

const CLIENT = [10, 0, 0, 1];
const ASKED = [10, 0, 0, 2];

interface Segment {
  fromServer?: boolean;
  flags: number;
  seq: number;
  ack?: number;
  window?: number;
  payload?: number;
  options?: number[];
}

/** A segment of one connection: 10.0.0.1:1000 to 10.0.0.2:80, which the server 192.0.2.1:1080 answers. */
function segment({
  fromServer = false,
  flags,
  seq,
  ack = 0,
  window = 1000,
  payload = 0,
  options = [],
}: Segment): Uint8Array {
  const [source, destination] = fromServer ? [SERVER, CLIENT] : [CLIENT, ASKED];
  const ports = fromServer ? [...be16(1080), ...be16(1000)] : [...be16(1000), ...be16(80)];
  const words = 5 + options.length / 4;
  const header = (sum: number): Uint8Array =>
    bytes(
      ports,
      be32(seq),
      be32(ack),
      words << 4,
      flags,
      be16(window),
      be16(sum),
      be16(0),
      options,
      new Uint8Array(payload),
    );
  const length = header(0).length;
  const pseudo = bytes(source, destination, be32(length), be32(6));
  const sum = internetChecksum(bytes(pseudo, header(0)));
  return ethernet(0x800, ipv4(6, header(sum), { source, destination }));
}

const scaled = (shift: number): number[] => [1, 3, 3, shift];

function opened(clientScale?: number, serverScale?: number): Machine {
  const m = machine();
  const options = (scale: number | undefined): number[] => (scale === undefined ? [] : scaled(scale));
  m.send([segment({ flags: SYN, seq: 100, options: options(clientScale) })]);
  m.send([segment({ fromServer: true, flags: SYN | ACK, seq: 500, ack: 101, options: options(serverScale) })]);
  m.send([segment({ flags: ACK, seq: 101, ack: 501 })]);
  return m;
}

const state = (m: Machine): number => [...m.dataplane.connections()][0].state;
const outside = (m: Machine): number => m.dataplane.details().outOfWindow;

describe("TCP windows", () => {
  test("a segment outside moves nothing, is counted and sent on; one inside does what it says", () => {
    const m = opened();
    expect([state(m), outside(m)]).toEqual([ConnectionState.Established, 0]);
    const cases: Segment[] = [
      { flags: RST | ACK, seq: 101 + 1002, ack: 501 },
      { flags: FIN | ACK, seq: 0x8000_0000, ack: 501 },
      { flags: FIN | ACK, seq: 101, ack: 502 },
      { fromServer: true, flags: RST, seq: 501 + 5000 },
      { fromServer: true, flags: FIN | ACK, seq: 501, ack: 5000 },
    ];
    for (const [at, each] of cases.entries()) {
      expect(m.send([segment(each)]).length).toBe(1);
      expect([state(m), outside(m)]).toEqual([ConnectionState.Established, at + 1]);
    }
    m.send([segment({ fromServer: true, flags: RST | ACK, seq: 501, ack: 101 })]);
    expect([state(m), outside(m)]).toEqual([ConnectionState.Closed, cases.length]);
  });

  test("scales count when both sides ask for them, and not in segments with SYN", () => {
    const far = { fromServer: true, flags: ACK, seq: 501 + 3000, ack: 101, payload: 10 };
    const plain = opened();
    plain.send([segment(far)]);
    expect(outside(plain)).toBe(1);
    const both = opened(7, 2);
    both.send([segment(far)]);
    expect(outside(both)).toBe(0);
    const one = opened(7);
    one.send([segment(far)]);
    expect(outside(one)).toBe(1);
  });

  test("a connection that was first seen in mid-stream is not judged", () => {
    const m = machine();
    m.send([segment({ flags: ACK, seq: 1, ack: 1 })]);
    m.send([segment({ flags: ACK, seq: 1_000_000, ack: 77 })]);
    expect([state(m), outside(m)]).toEqual([ConnectionState.Established, 0]);
  });

  test("a connection that begins again has windows of its own", () => {
    const m = opened();
    m.send([segment({ fromServer: true, flags: RST | ACK, seq: 501, ack: 101 })]);
    m.send([segment({ flags: SYN, seq: 3_000_000_000 })]);
    m.send([segment({ fromServer: true, flags: SYN | ACK, seq: 70_000, ack: 3_000_000_001 })]);
    m.send([segment({ flags: ACK, seq: 3_000_000_001, ack: 70_001 })]);
    expect([state(m), outside(m)]).toEqual([ConnectionState.Established, 0]);
  });

  test("two honest hosts are never outside, whatever is lost, repeated or overtaken, at any sequence number", () => {
    const step = fc.record({
      who: fc.nat(1),
      size: fc.integer({ min: 0, max: 400 }),
      fate: fc.constantFrom("arrives", "arrives", "arrives", "lost", "twice", "late"),
      window: fc.integer({ min: 400, max: 3000 }),
    });
    const number = fc.integer({ min: 0, max: 0xffff_ffff });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), number, number, (steps, first, second) => {
        const m = machine();
        m.send([segment({ flags: SYN, seq: first, window: 2000 })]);
        m.send([segment({ fromServer: true, flags: SYN | ACK, seq: second, ack: (first + 1) >>> 0, window: 2000 })]);
        m.send([segment({ flags: ACK, seq: (first + 1) >>> 0, ack: (second + 1) >>> 0, window: 2000 })]);
        // Per side: next to send, received in order, how far the other may go, edge it has told.
        const next = [first + 1, second + 1];
        const got = [second + 1, first + 1];
        const told = [second + 1 + 2000, first + 1 + 2000];
        let late: Uint8Array | undefined;
        for (const { who, size, fate, window } of steps) {
          const peer = 1 - who;
          const room = told[peer] - next[who];
          // Nothing in order is lost: what was lost is sent again from where the other side is.
          const from = got[peer] < next[who] && fate === "twice" ? got[peer] : next[who];
          const payload = Math.max(0, Math.min(size, from === next[who] ? room : next[who] - from));
          const open = Math.max(window, told[who] - got[who]);
          told[who] = got[who] + open;
          const frame = segment({
            fromServer: who === 1,
            flags: ACK,
            seq: from % 2 ** 32,
            ack: got[who] % 2 ** 32,
            window: open,
            payload,
          });
          if (from === next[who]) next[who] += payload;
          if (fate === "lost") {
            // The network behind the data path loses it: the data path has seen it.
            m.send([frame]);
            continue;
          }
          if (fate === "late") late = frame;
          else m.send([frame]);
          if (fate === "arrives" && from === got[peer]) got[peer] = from + payload;
          if (late !== undefined && fate === "twice") {
            m.send([late]);
            late = undefined;
          }
        }
        expect(outside(m)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});
