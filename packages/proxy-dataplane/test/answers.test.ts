import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatAddress,
  NetworkKind,
  PacketInfo,
  parseFrame,
  parseQuoted,
  verifyIcmpChecksum,
  verifyIpChecksum,
  verifyTransportChecksum,
  type ProxyConfig,
} from "@x/proxy-dataplane";
import { ethernet, icmpEcho, ipv4, tcp, tcp4, tcp6, udp4, udp6 } from "./frames.ts";
import { configOf, machine, type Machine } from "./machine.ts";
import { ACK, FIN, RST, SYN } from "./traffic.ts";

const rejecting = (more: Partial<ProxyConfig> = {}, network = {}): Machine =>
  machine({ initial: configOf([], { defaultAction: "reject", ...more }), network });

/** What an answer is, by full parsing; its checksums by full computation. */
function look(frame: Uint8Array) {
  const info = new PacketInfo();
  const quoted = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, 1, info);
  const isIpv6 = info.network === NetworkKind.Ipv6;
  const isIcmp = info.protocol === 1 || info.protocol === 58;
  const at = info.transportOffset;
  return {
    ends: `${formatAddress(info.key, 0, isIpv6)} ${info.sourcePort} > ${formatAddress(info.key, 4, isIpv6)} ${info.destinationPort}`,
    macs: [frame[5], frame[11]],
    flags: info.tcpFlags,
    numbers: [info.tcpSequence >>> 0, info.tcpAcknowledgement >>> 0],
    icmp: isIcmp ? [info.icmpType, info.icmpCode] : [],
    mtu: isIcmp ? ((frame[at + 4] << 24) | (frame[at + 5] << 16) | (frame[at + 6] << 8) | frame[at + 7]) >>> 0 : 0,
    sums: [
      verifyIpChecksum(frame, info),
      isIcmp ? verifyIcmpChecksum(frame, info) : verifyTransportChecksum(frame, info),
    ],
    quoted: parseQuoted(frame, info, quoted) ? [...frame.subarray(quoted.networkOffset)] : [],
    length: info.networkEnd - info.networkOffset,
  };
}

describe("a rejected TCP segment is answered with the reset of RFC 9293", () => {
  test.each([
    ["SYN", SYN, 100, [0, 101], RST | ACK],
    ["SYN with data", SYN, 100, [0, 101 + 12], RST | ACK],
    ["FIN", FIN, 0xffffffff, [0, 0], RST | ACK],
    ["ACK", ACK, 100, [2, 0], RST],
    ["SYN with ACK", SYN | ACK, 100, [2, 0], RST],
  ])("%s", (name, flags, sequence, numbers, answer) => {
    for (const make of [tcp4, tcp6]) {
      const m = rejecting();
      const payload = name.endsWith("data") ? new TextEncoder().encode("hello, world") : new Uint8Array(0);
      const frame = make({ flags, sequence }, payload);
      const [reset] = m.send([frame]);
      const isIpv6 = make === tcp6;
      expect(look(reset)).toMatchObject({
        ends: isIpv6 ? "2001:db8::2 80 > 2001:db8::1 1000" : "10.0.0.2 80 > 10.0.0.1 1000",
        macs: [2, 1],
        flags: answer,
        numbers,
        sums: [isIpv6 ? 0 : 1, 1],
      });
      expect(m.dataplane.details()).toMatchObject({ answersReset: 1, dropPolicy: 1, packetsDirect: 0 });
      expect(m.dataplane.statistics().packetsDropped).toBe(1);
      expect(m.pool.inUse).toBe(0);
    }
  });
});

describe("other rejected packets are answered with ICMP", () => {
  test("port unreachable, which quotes the packet", () => {
    const m = rejecting();
    const [four, six] = m.send([udp4(), udp6()]).map(look);
    expect(four).toMatchObject({ ends: "10.0.0.2 0 > 10.0.0.1 0", icmp: [3, 3], sums: [1, 1], mtu: 0, macs: [2, 1] });
    expect(six).toMatchObject({ ends: "2001:db8::2 0 > 2001:db8::1 0", icmp: [1, 4], sums: [0, 1], mtu: 0 });
    expect(four.quoted).toEqual([...udp4().subarray(14)]);
    expect(six.quoted).toEqual([...udp6().subarray(14)]);
    expect(m.dataplane.details().answersUnreachable).toBe(2);
  });

  test("for TCP too, or «prohibited», from the box's own address, where the configuration says so", () => {
    const translation = { own: ["192.0.2.254", "2001:db8::fe"] };
    const port = rejecting({ rejectWith: "port-unreachable", translation });
    expect(port.send([tcp4(), tcp6()]).map((frame) => look(frame).icmp)).toEqual([
      [3, 3],
      [1, 4],
    ]);
    const prohibited = rejecting({ rejectWith: "prohibited", translation });
    const seen = prohibited.send([tcp4(), tcp6()]).map(look);
    expect(seen.map(({ icmp }) => icmp)).toEqual([
      [3, 13],
      [1, 1],
    ]);
    expect(seen.map((one) => one.ends.split(" ")[0])).toEqual(["192.0.2.254", "2001:db8::fe"]);
  });

  test("no longer than 576 bytes, or 1280 of IPv6, whatever was sent", () => {
    const m = rejecting();
    const payload = new Uint8Array(1400).fill(7);
    const [four, six] = m.send([udp4({}, payload), udp6({}, payload)]).map(look);
    expect([four.length, six.length]).toEqual([576, 1280]);
    expect([four.sums, six.sums]).toEqual([
      [1, 1],
      [0, 1],
    ]);
  });
});

describe("not answered", () => {
  const broken = udp4();
  broken[broken.length - 1] ^= 1;
  const group = udp4();
  group[0] = 1;
  const cases: [string, Uint8Array][] = [
    ["is a reset", tcp4({ flags: RST })],
    ["has a bad checksum", broken],
    ["comes from no single host", udp4({ source: [0, 0, 0, 0] })],
    ["comes from a group", udp4({ source: [224, 0, 0, 1] })],
    ["goes to a group", udp4({ destination: [239, 1, 2, 3] })],
    ["goes to all", udp4({ destination: [255, 255, 255, 255] })],
    ["comes in a frame to many", group],
    ["goes to an IPv6 group", udp6({ destination: [0xff, 2, ...Array.from({ length: 14 }, () => 1)] })],
  ];
  test.each(cases)("is a packet that %s", (_, frame) => {
    const m = rejecting();
    expect(m.send([frame])).toEqual([]);
    expect(m.dataplane.details()).toMatchObject({
      answersUnfit: 1,
      dropPolicy: 1,
      answersReset: 0,
      answersUnreachable: 0,
    });
    expect(m.pool.inUse).toBe(0);
  });

  test("are more packets than the limit says: a burst, then so many a second", () => {
    const m = rejecting({}, { answersPerSecond: 10, answerBurst: 5 });
    const flood = (): number => m.send(Array.from({ length: 100 }, (_, i) => udp4({ sourcePort: i + 1 }))).length;
    expect([flood(), flood()]).toEqual([5, 0]);
    m.hal.nowNs += 0.25e9;
    expect(flood()).toBe(2);
    m.hal.nowNs += 60e9;
    expect(flood()).toBe(5);
    expect(m.dataplane.details()).toMatchObject({ answersUnreachable: 12, answersLimited: 388, dropPolicy: 400 });
  });

  test("is a packet that there is no buffer for an answer to", () => {
    const m = machine({ initial: configOf([], { defaultAction: "reject" }), buffers: 8 });
    const held = Array.from({ length: 7 }, () => m.pool.alloc());
    expect(m.send([udp4()])).toEqual([]);
    expect(m.dataplane.details().dropPolicy).toBe(1);
    for (const id of held) if (id !== 0) m.pool.free(id);
    expect(m.pool.inUse).toBe(0);
  });
});

test("answers lie where the rejected packets lay, in any mix of packets, and no buffer is lost", () => {
  const initial = configOf([], {
    rules: [
      { action: "drop", ports: [1] },
      { action: "reject", ports: [2] },
    ],
  });
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 60 }), (ports) => {
      const m = machine({ initial, network: { answerBurst: 1000 } });
      const got = m.send(ports.map((destinationPort, i) => udp4({ sourcePort: 5000 + i, destinationPort }))).map(look);
      const wanted = ports.flatMap((port) => (port === 1 ? [] : [port === 2 ? "answer" : "packet"]));
      expect(got.map(({ icmp }) => (icmp.length > 0 ? "answer" : "packet"))).toEqual(wanted);
      expect(m.pool.inUse).toBe(0);
      expect(m.dataplane.statistics().packetsDropped).toBe(ports.filter((port) => port < 3).length);
    }),
    { numRuns: 50 },
  );
});

test("an echo is rejected with ICMP, a VLAN tag and IP options are no obstacle", () => {
  const m = rejecting();
  const tagged = ethernet(0x800, ipv4(6, tcp(new Uint8Array(0), { flags: SYN }), { options: [1, 1, 1, 0] }), [
    [0x8100, 5],
  ]);
  const [error, reset] = m.send([ethernet(0x800, ipv4(1, icmpEcho(8, 5))), tagged]);
  expect(look(error)).toMatchObject({ icmp: [3, 3], sums: [1, 1] });
  expect(look(reset)).toMatchObject({ ends: "10.0.0.2 80 > 10.0.0.1 1000", flags: RST | ACK, sums: [1, 1] });
  expect([...reset.subarray(12, 18)]).toEqual([0x81, 0, 0, 5, 8, 0]);
});
