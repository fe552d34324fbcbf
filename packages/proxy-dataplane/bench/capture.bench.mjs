// Opening a pcap file in memory and visiting its packets.
import { Readable } from "node:stream";
import { openCapture, PacketInfo, parseFrame } from "@x/proxy-dataplane";
import pcapParser from "pcap-parser";
import { udpFrame, warmUp } from "./common.mjs";

const PACKETS = 1000;

function captureFile(length) {
  const file = Buffer.alloc(24 + PACKETS * (16 + length));
  file.writeUInt32LE(0xa1b2c3d4, 0);
  file.writeUInt16LE(2, 4);
  file.writeUInt16LE(4, 6);
  file.writeUInt32LE(65535, 16);
  file.writeUInt32LE(1, 20);
  for (let i = 0; i < PACKETS; i++) {
    const at = 24 + i * (16 + length);
    file.writeUInt32LE(1_700_000_000 + i, at);
    file.writeUInt32LE(length, at + 8);
    file.writeUInt32LE(length, at + 12);
    file.set(udpFrame(i, length), at + 16);
  }
  return file;
}

function ours(file) {
  const capture = openCapture(file);
  let bytes = 0;
  for (let i = 0; i < capture.count; i++) bytes += file[capture.offsets[i]] + capture.lengths[i];
  return bytes;
}

/** The parser takes a stream; the file goes through it in chunks of 64 KiB, as a file stream would give them. */
function peer(file) {
  const chunks = Array.from({ length: Math.ceil(file.length / 65536) }, (_, i) =>
    file.subarray(i * 65536, (i + 1) * 65536),
  );
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const parser = pcapParser.parse(Readable.from(chunks));
    parser.on("packet", ({ header, data }) => (bytes += data[0] + header.capturedLength));
    parser.on("end", () => resolve(bytes));
    parser.on("error", reject);
  });
}

const reading = (length) => {
  const file = captureFile(length);
  return {
    name: `read a pcap of ${length}-byte packets`,
    unit: "Mpackets/s",
    ops: PACKETS,
    ours: () => ours(file),
    peers: { "pcap-parser 0.2.1": () => peer(file) },
  };
};

export default [
  reading(64),
  reading(1500),
  {
    name: "walk the headers of a 64-byte packet",
    unit: "ns/op",
    ops: PACKETS,
    setup: async () => {
      const file = captureFile(64);
      const { offsets } = openCapture(file);
      const info = new PacketInfo();
      const walk = () => {
        let ports = 0;
        for (let i = 0; i < PACKETS; i++) {
          parseFrame(file, offsets[i], 64, 64, 1, info);
          ports += info.sourcePort;
        }
        return ports;
      };
      warmUp(walk);
      return { ours: walk, peers: {} };
    },
  },
];
