import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packetDigest, PacketHash } from "../src/substrate/packet-hash.ts";

const packets = fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { minLength: 1, maxLength: 20 });

const STRIDE = 256;

/** The packets in one memory, a stride apart. */
function memoryOf(all: readonly Uint8Array[]): ArrayBuffer {
  const bytes = new Uint8Array(all.length * STRIDE);
  all.forEach((packet, at) => bytes.set(packet, at * STRIDE));
  return bytes.buffer;
}

function digest(all: readonly Uint8Array[]): string {
  const hash = new PacketHash(memoryOf(all));
  all.forEach((packet, at) => hash.add(at * STRIDE, packet.length));
  return packetDigest(hash.low, hash.high);
}

describe("PacketHash", () => {
  it("does not depend on the order of packets, nor on which of several sums they are added to", () => {
    fc.assert(
      fc.property(packets, fc.nat(), (all, cut) => {
        const memory = memoryOf(all);
        const [one, other] = [new PacketHash(memory), new PacketHash(memory)];
        all.forEach((packet, at) => (at % 3 === cut % 3 ? one : other).add(at * STRIDE, packet.length));
        const whole = digest(all);
        expect(digest(all.toReversed())).toBe(whole);
        expect(packetDigest(one.low + other.low, one.high + other.high)).toBe(whole);
        expect(whole).toMatch(/^[0-9a-f]{16}$/);
      }),
    );
  });

  it("does not depend on where a packet lies, nor on what lies around it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(7), fc.nat(255), (packet, at, around) => {
        const bytes = new Uint8Array(STRIDE).fill(around);
        bytes.set(packet, at);
        const hash = new PacketHash(bytes.buffer);
        hash.add(at, packet.length);
        expect(packetDigest(hash.low, hash.high)).toBe(digest([packet]));
      }),
    );
  });

  it("changes with any bit of the headers, with a packet's length, and with a packet more", () => {
    fc.assert(
      fc.property(packets, fc.nat(), fc.nat({ max: 7 }), (all, where, bit) => {
        const whole = digest(all);
        const changed = Uint8Array.from(all[0]);
        changed[where % Math.min(changed.length, 128)] ^= 1 << bit;
        expect(digest([changed, ...all.slice(1)])).not.toBe(whole);
        expect(digest([Uint8Array.of(...all[0], 0), ...all.slice(1)])).not.toBe(whole);
        expect(digest([...all, all[0]])).not.toBe(whole);
      }),
    );
  });

  it("sees only the packet's own bytes", () => {
    const bytes = new Uint8Array(64).fill(7);
    const [one, other] = [new PacketHash(bytes.buffer), new PacketHash(bytes.buffer)];
    one.add(8, 21);
    bytes.fill(9, 0, 8).fill(9, 29);
    other.add(8, 21);
    expect([other.low, other.high]).toEqual([one.low, one.high]);
  });
});
