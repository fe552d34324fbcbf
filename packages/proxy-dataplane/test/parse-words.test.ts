import * as fc from "fast-check";
import { expect, test } from "vitest";
import { PacketInfo, ParseResult } from "@x/proxy-dataplane";
import { walkFrame } from "../src/parse-frame.ts";
import { readIpv4, readIpv6 } from "../src/parse-words.ts";
import { KEY_WORDS } from "../src/packet-info.ts";
import { META_COMMON, META_COMMON_IPV6, META_IPV6, PacketVector, transportOf } from "../src/packet-vector.ts";
import { LITTLE_ENDIAN, swap32 } from "../src/words.ts";
import { ethernet, ipv4, ipv6, tcp, tcp4, tcp6, udp, udp4, udp6 } from "./frames.ts";

const START = 66;
const PLACE = 3;

/** What reading by words leaves in the vector, undefined for a packet it leaves to the general walk. */
function byWords(frame: Uint8Array, wireLength: number, filler: number): PacketVector | undefined {
  const bytes = new Uint8Array(START + frame.length + 256).fill(filler);
  bytes.set(frame, START);
  const words = new Int32Array(bytes.buffer, 0, bytes.length >> 2);
  const vector = new PacketVector(() => expect.unreachable("nothing is dropped"));
  const isCommon = [readIpv4, readIpv6].some((read) => read(vector, PLACE, words, START, frame.length, wireLength));
  return isCommon ? vector : undefined;
}

/** The same members of what the general walk finds. */
function sameAsWalk(v: PacketVector, frame: Uint8Array, wireLength: number): void {
  const info = new PacketInfo();
  info.clear();
  expect(walkFrame(frame, 0, frame.length, wireLength, 1, info)).toBe(ParseResult.Ok);
  expect([info.fragment, info.hasPorts]).toEqual([0, 1]);
  expect(v.networks[PLACE]).toBe(START + info.networkOffset);
  expect(transportOf(v, PLACE)).toBe(START + info.transportOffset);
  expect(swap32(v.ports[PLACE])).toBe(info.key[8]);
  const isIpv6 = (v.metas[PLACE] & META_IPV6) !== 0;
  expect(v.metas[PLACE]).toBe(info.protocol | (isIpv6 ? META_IPV6 | META_COMMON_IPV6 : META_COMMON));
  if (isIpv6) expect(v.keys.slice(PLACE * KEY_WORDS, (PLACE + 1) * KEY_WORDS)).toEqual(info.key);
  else expect([v.sources[PLACE], v.destinations[PLACE]].map(swap32)).toEqual([info.key[0], info.key[4]]);
  if (info.protocol !== 6) return;
  expect(v.sequences[PLACE]).toBe(info.tcpSequence);
  expect(v.acknowledgements[PLACE]).toBe(info.tcpAcknowledgement);
  expect(v.tcpFlags[PLACE]).toBe(info.tcpFlags);
  expect(v.windows[PLACE]).toBe(info.tcpWindow);
  expect(v.payloads[PLACE]).toBe(info.transportLength - info.transportHeaderLength);
}

const plain = [tcp4(), udp4(), tcp6(), udp6()];

test.skipIf(!LITTLE_ENDIAN)(
  "plain TCP and UDP over IPv4 and IPv6 are read by words, and as the general walk reads them",
  () => {
    for (const frame of plain) {
      const vector = byWords(frame, frame.length, 0);
      if (vector === undefined) expect.unreachable("left to the general walk");
      sameAsWalk(vector, frame, frame.length);
    }
  },
);

test.skipIf(!LITTLE_ENDIAN)("whatever is read by words of a damaged or cut packet, the general walk finds too", () => {
  const seeds = [
    ...plain,
    ethernet(0x86dd, ipv6(60, new Uint8Array([17, 0, 1, 4, 0, 0, 0, 0, ...udp()]))),
    ethernet(0x800, ipv4(6, tcp(), { options: [1, 1, 1, 0] })),
  ];
  const change = fc.tuple(fc.nat(90), fc.oneof(fc.constantFrom(0, 4, 6, 8, 17, 0x45, 0x50, 0x60, 255), fc.nat(255)));
  const changes = fc.array(change, { maxLength: 4 });
  const seen = { four: 0, six: 0, cut: 0 };
  fc.assert(
    fc.property(fc.constantFrom(...seeds), changes, fc.nat(60), fc.constantFrom(0, 40), (seed, list, cut, more) => {
      const whole = seed.slice();
      for (const [at, value] of list) if (at < whole.length) whole[at] = value;
      const frame = cut < 20 ? whole.subarray(0, Math.max(14, whole.length - cut)) : whole;
      const wireLength = whole.length + more;
      const vector = byWords(frame, wireLength, cut);
      if (vector === undefined) return;
      if ((vector.metas[PLACE] & META_IPV6) === 0) seen.four++;
      else seen.six++;
      if (frame.length < whole.length) seen.cut++;
      sameAsWalk(vector, frame, wireLength);
    }),
    { numRuns: 4000 },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(50);
});
