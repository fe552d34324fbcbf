import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CaptureWriter, LinkType, openCapture } from "@x/proxy-dataplane";

const NS = 1_000_000_000;

describe("a written capture", () => {
  test("reads back as the packets that were added: bytes, lengths, link types and nanoseconds", () => {
    const packet = fc.record({
      bytes: fc.uint8Array({ maxLength: 70 }),
      cut: fc.nat(50),
      gapNs: fc.nat(3 * NS),
      link: fc.nat(1),
    });
    const options = fc.record({
      format: fc.constantFrom("pcap" as const, "pcapng" as const),
      snapLength: fc.constantFrom(1, 20, 262_144),
      startSeconds: fc.constantFrom(0, 1_700_000_000, 4_294_967_000 / 2),
      startNanoseconds: fc.nat(NS - 1),
    });
    fc.assert(
      fc.property(fc.array(packet, { minLength: 1, maxLength: 20 }), options, (packets, chosen) => {
        const links = chosen.format === "pcap" ? [LinkType.Ethernet] : [LinkType.Ethernet, LinkType.Raw];
        const writer = new CaptureWriter({ linkTypes: links, ...chosen });
        let timestampNs = 0;
        const expected = packets.map(({ bytes, cut, gapNs, link }) => {
          timestampNs += gapNs;
          const linkType = links[link % links.length];
          writer.add(bytes, 0, bytes.length, { wireLength: bytes.length + cut, linkType, timestampNs });
          return { bytes: [...bytes.subarray(0, chosen.snapLength)], wire: bytes.length + cut, linkType, timestampNs };
        });
        const capture = openCapture(writer.finish());
        expect(capture.format).toBe(chosen.format);
        expect(writer.count).toBe(packets.length);
        const startNs = expected[0].timestampNs;
        const read = Array.from({ length: capture.count }, (_, i) => ({
          bytes: [...capture.bytes.subarray(capture.offsets[i], capture.offsets[i] + capture.lengths[i])],
          wire: capture.wireLengths[i],
          linkType: capture.linkTypes[i],
          timestampNs: capture.timestampsNs[i] + startNs,
        }));
        expect(read).toEqual(expected);
        const first = chosen.startNanoseconds + startNs;
        expect(capture.startSeconds).toBe(Math.floor(chosen.startSeconds) + Math.floor(first / NS));
        expect(capture.startNanoseconds).toBe(first % NS);
      }),
      { numRuns: 200 },
    );
  });

  test("refuses what the format cannot hold", () => {
    const refused = expect.objectContaining({ code: "DATAPLANE_INVALID_ARGUMENT" });
    expect(() => new CaptureWriter({ linkTypes: [] })).toThrow(refused);
    expect(() => new CaptureWriter({ linkTypes: [1, 101], format: "pcap" })).toThrow(refused);
    expect(() => new CaptureWriter({ linkTypes: [1], snapLength: 0 })).toThrow(refused);
    expect(() => new CaptureWriter({ linkTypes: [1] }).add(new Uint8Array(1), 0, 1, { linkType: 7 })).toThrow(refused);
    expect(new CaptureWriter({ linkTypes: [1, 101] }).format).toBe("pcapng");
  });
});
