import fc from "fast-check";
import { expect, test } from "vitest";
import { rewriteEnds } from "@x/proxy-dataplane";
import {
  deltas,
  DELTAS,
  ENDS_WORDS,
  EndsFlag,
  learnSource,
  memoryWord,
  packetMemory,
  PORTS,
  storeEnds,
} from "../src/workload/ends.ts";

const KEY_IPV6 = 0x100;
const BYTES = 160;

interface Kind {
  readonly isIpv6: boolean;
  readonly isUdp: boolean;
}

/** Source address, destination address, ports, in the network's order, as `rewriteEnds` takes a packet's present ends. */
function keyOf(words: readonly number[], { isIpv6, isUdp }: Kind): Int32Array {
  const key = new Int32Array(10);
  const each = isIpv6 ? 4 : 1;
  for (let word = 0; word < each; word++) {
    key[word] = words[word];
    key[4 + word] = words[4 + word];
  }
  key[8] = words[8];
  key[9] = (isIpv6 ? KEY_IPV6 : 0) | (isUdp ? 17 : 6);
  return key;
}

function swapped(key: Int32Array): Int32Array {
  return Int32Array.of(...key.subarray(4, 8), ...key.subarray(0, 4), (key[8] << 16) | (key[8] >>> 16), key[9]);
}

function endsOf(key: Int32Array): Int32Array {
  const ends = new Int32Array(ENDS_WORDS);
  const each = (key[9] & KEY_IPV6) === 0 ? 1 : 4;
  for (let word = 0; word < each; word++) {
    ends[word] = memoryWord(key[word]);
    ends[each + word] = memoryWord(key[4 + word]);
  }
  ends[PORTS] = memoryWord(key[8]);
  return ends;
}

function flagsOf({ isIpv6, isUdp }: Kind): number {
  return (isIpv6 ? EndsFlag.Ipv6 : 0) | (isUdp ? EndsFlag.Udp : 0);
}

/** A packet with these ends at `network`, everything else of it arbitrary. */
function packet(noise: Uint8Array, network: number, key: Int32Array, kind: Kind): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(BYTES));
  bytes.set(noise);
  const view = new DataView(bytes.buffer);
  const each = kind.isIpv6 ? 4 : 1;
  const addresses = network + (kind.isIpv6 ? 8 : 12);
  for (let word = 0; word < each; word++) {
    view.setInt32(addresses + word * 4, key[word]);
    view.setInt32(addresses + (each + word) * 4, key[4 + word]);
  }
  view.setInt32(network + (kind.isIpv6 ? 40 : 20), key[8]);
  return bytes;
}

// Few values, so that ends that stay, sums that carry and checksums of 0 and all ones are common.
const word = fc.oneof(fc.constantFrom(0, -1, 0xffff, 0x1_0000), fc.integer());
const tuple = fc.array(word, { minLength: 9, maxLength: 9 });
const noise = fc.uint8Array({ minLength: BYTES, maxLength: BYTES });
const arbitrary = fc.record({
  kind: fc.record({ isIpv6: fc.boolean(), isUdp: fc.boolean() }),
  // Behind an Ethernet header, and behind that of Linux's cooked captures.
  network: fc.constantFrom(16, 18),
  before: tuple,
  after: tuple,
  noise: fc.oneof(noise, fc.constant(new Uint8Array(BYTES)), fc.constant(new Uint8Array(BYTES).fill(0xff))),
});

test("ends stored with their deltas leave the bytes that rewriting them word by word leaves", () => {
  fc.assert(
    fc.property(arbitrary, ({ kind, network, before, after, noise: around }) => {
      const [from, to] = [keyOf(before, kind), keyOf(after, kind)];
      const transport = network + (kind.isIpv6 ? 40 : 20);
      const expected = packet(around, network, from, kind);
      rewriteEnds(expected, network, transport, from, 0, swapped(to), 0);
      const ends = endsOf(to);
      ends[DELTAS] = deltas(endsOf(from), 0, ends, 0, flagsOf(kind));
      const stored = packet(around, network, from, kind);
      storeEnds(packetMemory(stored), network, transport, flagsOf(kind), ends, 0);
      expect([...stored]).toEqual([...expected]);
    }),
  );
});

test("the source of answers is where the packet went, and news only once", () => {
  fc.assert(
    fc.property(arbitrary, ({ kind, network, before, noise: around }) => {
      const key = keyOf(before, kind);
      const transport = network + (kind.isIpv6 ? 40 : 20);
      const memory = packetMemory(packet(around, network, key, kind));
      const ends = endsOf(swapped(key));
      const right = [...ends];
      expect(learnSource(memory, network, transport, flagsOf(kind), ends, 0)).toBe(false);
      ends[0] ^= 1;
      expect(learnSource(memory, network, transport, flagsOf(kind), ends, 0)).toBe(true);
      expect([...ends]).toEqual(right);
      ends[PORTS] ^= 1;
      expect(learnSource(memory, network, transport, flagsOf(kind), ends, 0)).toBe(true);
      expect([...ends]).toEqual(right);
    }),
  );
});
