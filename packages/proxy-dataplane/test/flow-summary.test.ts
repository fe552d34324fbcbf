import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress, openCapture, parseAddress, summarizeFlows } from "@x/proxy-dataplane";
import { A4, B4, bytes, ethernet, icmpEcho, ipv4, pcap, tcp, tcp4, tcp6, udp, udp4, udp6 } from "./frames.ts";

const summarize = (frames: Uint8Array[]) => summarizeFlows(openCapture(pcap(frames)));

describe("summarizeFlows", () => {
  test("counts by outermost protocol, and the four network counts add up", () => {
    const arp = ethernet(0x806, bytes(0, 1, 8, 0, 6, 4, 0, 1, new Uint8Array(20)));
    const frames = [
      tcp4(),
      tcp6(),
      udp4(),
      arp,
      ethernet(0x800, ipv4(1, icmpEcho(8, 1))),
      ethernet(0x88cc, bytes(1, 2)),
    ];
    const summary = summarize(frames);
    expect(summary).toMatchObject({
      packets: 6,
      ipv4: 3,
      ipv6: 1,
      arp: 1,
      other: 1,
      tcp: 2,
      udp: 1,
      icmp: 1,
      malformed: 0,
    });
    expect(summary.flows).toEqual({ tcp: 2, udp: 1, other: 1 });
    expect(summary.bytes).toBe(frames.reduce((sum, frame) => sum + frame.length, 0));
  });

  test("both directions are one conversation, a is who spoke first, bytes are whole frames", () => {
    const there = tcp4({ sourcePort: 5000 });
    const back = tcp4({ source: B4, destination: A4, sourcePort: 80, destinationPort: 5000 }, new Uint8Array(100));
    expect(summarize([there, back, there]).conversations).toEqual([
      {
        proto: "tcp",
        a: "10.0.0.1",
        aPort: 5000,
        b: "10.0.0.2",
        bPort: 80,
        packetsAtoB: 2,
        bytesAtoB: 2 * there.length,
        packetsBtoA: 1,
        bytesBtoA: back.length,
      },
    ]);
  });

  test("addresses of the two families never collide, and equal ends are one direction", () => {
    const self = tcp4({ source: A4, destination: A4, sourcePort: 9, destinationPort: 9 });
    const summary = summarize([udp6(), udp4(), self, self]);
    expect(summary.flows).toEqual({ tcp: 1, udp: 2, other: 0 });
    expect(summary.conversations[2]).toMatchObject({ packetsAtoB: 2, packetsBtoA: 0 });
  });

  test("checksums are counted good, bad and not at all", () => {
    const bad = tcp4();
    bad[bad.length - 1] ^= 1;
    const badHeader = udp4();
    badHeader[24] ^= 1;
    const without = udp4();
    without.set([0, 0], 40);
    expect(summarize([tcp4(), bad, badHeader, without]).checksums).toEqual({
      ipGood: 3,
      ipBad: 1,
      tcpGood: 1,
      tcpBad: 1,
      udpGood: 1,
      udpBad: 0,
    });
  });

  test("fragments count with their protocol; the first founds the flow, the others none", () => {
    const segment = tcp();
    const first = ethernet(0x800, ipv4(6, segment.subarray(0, 8), { fragment: 0x2000 }));
    const last = ethernet(0x800, ipv4(6, segment.subarray(8), { fragment: 1 }));
    expect(summarize([first, last])).toMatchObject({ fragments: 2, tcp: 2, malformed: 0, flows: { tcp: 1, other: 0 } });
  });

  test("conversations agree with a Map by text key for any traffic", () => {
    const end = fc.record({ host: fc.integer({ min: 1, max: 6 }), port: fc.integer({ min: 1, max: 5 }) });
    const packet = fc.record({ from: end, to: end, isTcp: fc.boolean() });
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 120 }), (packets) => {
        const model = new Map<string, number>();
        const frames = packets.map(({ from, to, isTcp }) => {
          const key = [`${from.host}:${from.port}`, `${to.host}:${to.port}`].sort().join(" ") + isTcp;
          model.set(key, (model.get(key) ?? 0) + 1);
          const options = { sourcePort: from.port, destinationPort: to.port };
          const payload = isTcp ? tcp(undefined, options) : udp(undefined, options);
          const addresses = { source: [10, 0, 0, from.host], destination: [10, 0, 0, to.host] };
          return ethernet(0x800, ipv4(isTcp ? 6 : 17, payload, addresses));
        });
        const found = new Map(
          summarize(frames).conversations.map((c) => {
            const key =
              [`${c.a.slice(7)}:${c.aPort}`, `${c.b.slice(7)}:${c.bPort}`].sort().join(" ") + (c.proto === "tcp");
            return [key, c.packetsAtoB + c.packetsBtoA];
          }),
        );
        expect(found).toEqual(model);
      }),
      { numRuns: 200 },
    );
  });

  test("thousands of flows are told apart", () => {
    const frames = Array.from({ length: 3000 }, (_, i) => udp4({ sourcePort: 1000 + i }, bytes(i & 255)));
    expect(summarize([...frames, ...frames]).flows.udp).toBe(3000);
  });
});

describe("addresses", () => {
  const words = new Int32Array(4);
  const cases: [string, string][] = [
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:DB8::", "2001:db8::"],
    ["::", "::"],
    ["::ffff:1.2.3.4", "::ffff:102:304"],
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ["255.0.1.10", "255.0.1.10"],
  ];
  for (const [text, canonical] of cases) {
    test(`${text} is ${canonical}`, () => {
      const family = parseAddress(text, words, 0);
      expect(formatAddress(words, 0, family === 6)).toBe(canonical);
    });
  }

  test("what is no address is refused", () => {
    for (const text of [
      "",
      "1.2.3",
      "1.2.3.256",
      "01.2.3.4",
      "1::2::3",
      ":1",
      "1:2:3:4:5:6:7:8:9",
      "12345::",
      "1.2.3.4::",
      "a.b.c.d",
      "1:2:3:4:5:6:7::8:9",
    ]) {
      expect([text, parseAddress(text, words, 0)]).toEqual([text, 0]);
    }
  });

  test("every address survives text and back", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 }), (groups) => {
        const key = Int32Array.from({ length: 4 }, (_, i) => (groups[2 * i] << 16) | groups[2 * i + 1]);
        expect(parseAddress(formatAddress(key, 0, true), words, 0)).toBe(6);
        expect([...words]).toEqual([...key]);
      }),
    );
  });
});
