import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DataplaneError, openCapture } from "@x/proxy-dataplane";
import {
  be16,
  bytes,
  enhancedPacket,
  interfaceBlock,
  le16,
  le32,
  pcap,
  pcapng,
  sectionHeader,
  tcp4,
  udp4,
  type Block,
} from "./frames.ts";

const frames = [tcp4(), udp4()];

function errorOf(run: () => unknown): DataplaneError {
  try {
    run();
  } catch (error) {
    if (error instanceof DataplaneError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("pcap", () => {
  for (const bigEndian of [false, true]) {
    for (const nanoseconds of [false, true]) {
      test(`${bigEndian ? "big" : "little"} endian with ${nanoseconds ? "nano" : "micro"}seconds is read`, () => {
        const capture = openCapture(pcap(frames, { bigEndian, nanoseconds, linkType: 101 }));
        expect(capture).toMatchObject({ format: "pcap", count: 2, startSeconds: 1_700_000_000, truncatedAt: -1 });
        expect([...capture.timestampsNs]).toEqual([0, 1e9 + (nanoseconds ? 1 : 1000)]);
        expect([...capture.linkTypes]).toEqual([101, 101]);
        const read: Uint8Array[] = [];
        capture.forEachPacket((_, offset, length) => read.push(capture.bytes.slice(offset, offset + length)));
        expect(read).toEqual(frames);
      });
    }
  }

  test("a packet captured in part keeps its length on the wire", () => {
    const capture = openCapture(pcap([frames[0].subarray(0, 20)], { wireLength: 66 }));
    expect([capture.lengths[0], capture.wireLengths[0]]).toEqual([20, 66]);
  });

  test("bits about the frame check sequence in the link type word are left out", () => {
    const file = pcap(frames);
    file.set(le32(0x44000001), 20);
    expect(openCapture(file).linkTypes[0]).toBe(1);
  });

  test("the two lengths of version 2.2 are the other way round", () => {
    const file = pcap([frames[0]]);
    file.set(le16(2), 6);
    file.set(le32(99), 32);
    file.set(le32(frames[0].length), 36);
    const capture = openCapture(file);
    expect([capture.lengths[0], capture.wireLengths[0]]).toEqual([frames[0].length, 99]);
  });

  test("a file without packets is an empty capture", () => {
    expect(openCapture(pcap([])).count).toBe(0);
  });

  test("a file that ends inside a record is an error with the record's offset, or a capture up to there", () => {
    const file = pcap(frames);
    const cut = file.subarray(0, file.length - 3);
    const last = 24 + 16 + frames[0].length;
    expect(errorOf(() => openCapture(cut, "x.pcap"))).toMatchObject({
      code: "CAPTURE_TRUNCATED",
      location: { file: "x.pcap", offset: last },
    });
    expect(openCapture(cut, "x.pcap", { allowTruncated: true })).toMatchObject({ count: 1, truncatedAt: last });
  });
});

describe("pcapng", () => {
  for (const bigEndian of [false, true]) {
    test(`${bigEndian ? "big" : "little"} endian with enhanced packets is read`, () => {
      const blocks = [sectionHeader(bigEndian), interfaceBlock(1, 0, [], bigEndian)];
      blocks.push(enhancedPacket(0, 1_700_000_000_000_000n, frames[0], bigEndian));
      blocks.push(enhancedPacket(0, 1_700_000_001_000_007n, frames[1], bigEndian));
      const capture = openCapture(pcapng(blocks, bigEndian));
      expect(capture).toMatchObject({ format: "pcapng", count: 2, startSeconds: 1_700_000_000, startNanoseconds: 0 });
      expect([...capture.timestampsNs]).toEqual([0, 1_000_007_000]);
    });
  }

  test("interfaces keep their own link type, time resolution and time offset", () => {
    const resolution = (value: number): number[] => [...le16(9), ...le16(1), value, 0, 0, 0];
    const offset = [...le16(14), ...le16(8), ...le32(5), ...le32(0)];
    const capture = openCapture(
      pcapng([
        sectionHeader(),
        interfaceBlock(1, 0, resolution(9)),
        interfaceBlock(101, 0, [...resolution(0x80 | 10), ...offset]),
        enhancedPacket(0, 1_000_000_000_123n, frames[0]),
        enhancedPacket(1, 995n * 1024n + 512n, frames[1]),
      ]),
    );
    expect([...capture.linkTypes]).toEqual([1, 101]);
    expect(capture).toMatchObject({ startSeconds: 1000, startNanoseconds: 123 });
    expect([...capture.timestampsNs]).toEqual([0, 500_000_000 - 123]);
  });

  test("nanosecond times of today keep every nanosecond", () => {
    const start = 1_700_000_000_123_456_789n;
    const resolution = [...le16(9), ...le16(1), 9, 0, 0, 0];
    const blocks = [sectionHeader(), interfaceBlock(1, 0, resolution)];
    for (const delta of [0n, 1n, 86_400_000_000_001n]) blocks.push(enhancedPacket(0, start + delta, frames[0]));
    const capture = openCapture(pcapng(blocks));
    expect([...capture.timestampsNs]).toEqual([0, 1, 86_400_000_000_001]);
    expect(capture.startNanoseconds).toBe(123_456_789);
  });

  test("simple packets are cut by the snap length, old packet blocks and several sections are read, others skipped", () => {
    const frame = frames[0];
    const simple: Block = { type: 3, body: [...le32(frame.length), ...frame.subarray(0, 20)] };
    const old: Block = {
      type: 2,
      body: [...le16(0), ...le16(3), ...le32(0), ...le32(9), ...le32(frame.length), ...le32(frame.length), ...frame],
    };
    const custom: Block = { type: 0xbad, body: [1, 2, 3, 4] };
    const first = pcapng([sectionHeader(), custom, interfaceBlock(1, 20), simple, old]);
    const second = pcapng(
      [sectionHeader(true), interfaceBlock(12, 0, [], true), enhancedPacket(0, 1n, frame, true)],
      true,
    );
    const capture = openCapture(bytes(first, second));
    expect([...capture.lengths]).toEqual([20, frame.length, frame.length]);
    expect([...capture.wireLengths]).toEqual([frame.length, frame.length, frame.length]);
    expect([...capture.linkTypes]).toEqual([1, 1, 12]);
  });

  const faults: [string, string, number, Uint8Array][] = [
    ["a block length below the least", "CAPTURE_MALFORMED", 4, faulty(4, [8, 0, 0, 0])],
    ["a length at the end that differs from the start", "CAPTURE_MALFORMED", 24, faulty(24, [32, 0, 0, 0])],
    ["no byte order magic", "CAPTURE_MALFORMED", 8, faulty(8, [1, 2, 3, 4])],
    ["another major version", "CAPTURE_MALFORMED", 12, faulty(12, [9])],
    [
      "a packet of an interface that is not described",
      "CAPTURE_MALFORMED",
      36,
      pcapng([sectionHeader(), enhancedPacket(0, 1n, frames[0])]),
    ],
    ["a block that goes beyond the file", "CAPTURE_TRUNCATED", 0, pcapng([sectionHeader()]).subarray(0, 20)],
  ];
  function faulty(at: number, value: number[]): Uint8Array {
    const file = pcapng([sectionHeader()]);
    file.set(value, at);
    return file;
  }
  for (const [what, code, offset, file] of faults) {
    test(`${what} is an error with its offset`, () => {
      expect(errorOf(() => openCapture(file))).toMatchObject({ code, location: { offset } });
    });
  }

  test("a length that leaves the padding out is read when the padding is there", () => {
    const file = pcapng([sectionHeader(), interfaceBlock(1), enhancedPacket(0, 1n, frames[0])]);
    const [block, length] = [28 + 20, file.length - 28 - 20];
    expect(frames[0].length % 4).toBe(2);
    file.set(le32(length - 2), block + 4);
    file.set(le32(length - 2), file.length - 4);
    expect(openCapture(file).lengths[0]).toBe(frames[0].length);
  });

  test("captured bytes that go beyond their block are an error", () => {
    const file = pcapng([sectionHeader(), interfaceBlock(1), enhancedPacket(0, 1n, frames[0])]);
    file.set(le32(5000), 28 + 20 + 20);
    expect(errorOf(() => openCapture(file)).code).toBe("CAPTURE_MALFORMED");
  });
});

describe("what is no capture", () => {
  test("other files are refused with what they begin with", () => {
    expect(errorOf(() => openCapture(bytes(be16(0x504b), 3, 4)))).toMatchObject({ code: "CAPTURE_UNKNOWN_FORMAT" });
    expect(errorOf(() => openCapture(bytes(0x1f, 0x8b, 8))).message).toContain("gzip");
    expect(errorOf(() => openCapture(new Uint8Array()))).toMatchObject({ code: "CAPTURE_TRUNCATED" });
  });

  test("no change of any byte makes anything but packets inside the file or a DataplaneError", () => {
    const ng = pcapng([
      sectionHeader(),
      interfaceBlock(1),
      enhancedPacket(0, 77n, frames[0]),
      enhancedPacket(0, 78n, frames[1]),
    ]);
    const files = [pcap(frames), pcap(frames, { bigEndian: true, nanoseconds: true }), ng];
    const change = fc.tuple(fc.nat(), fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255)));
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.array(change, { maxLength: 6 }),
        fc.nat(),
        fc.boolean(),
        (file, changes, cut, allowTruncated) => {
          const mutated = file.slice(0, cut % 3 === 0 ? cut % file.length : file.length);
          for (const [at, value] of changes) if (mutated.length > 0) mutated[at % mutated.length] = value;
          try {
            const capture = openCapture(mutated, "fuzz", { allowTruncated });
            for (let i = 0; i < capture.count; i++) {
              expect(capture.offsets[i] + capture.lengths[i]).toBeLessThanOrEqual(mutated.length);
              expect(Number.isFinite(capture.timestampsNs[i])).toBe(true);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(DataplaneError);
          }
        },
      ),
      { numRuns: 5000 },
    );
  });
});
