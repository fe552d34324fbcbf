import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { CaptureWriter, type PacketPool } from "@x/proxy-dataplane";
import { emulate } from "../src/experiment/emulation.ts";
import { defaultScenarioFile, loadScenario } from "../src/experiment/scenario.ts";
import type { Wire } from "../src/kernel/net-driver.ts";

const folder = mkdtempSync(join(tmpdir(), "header-split-"));
afterAll(() => rmSync(folder, { recursive: true }));

const UDP = 17;
const DESTINATION_OPTIONS = 60;
const PAYLOAD_BYTES = 64;

/** Ethernet, IPv6, a header of destination options of `optionBytes` (a multiple of 8; 0: none), UDP, payload. */
function packet(optionBytes: number, port: number): Uint8Array {
  const transport = 14 + 40 + optionBytes;
  const bytes = new Uint8Array(transport + 8 + PAYLOAD_BYTES).fill(0xa5, transport + 8);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, 0x86dd);
  view.setUint8(14, 0x60);
  view.setUint16(18, optionBytes + 8 + PAYLOAD_BYTES);
  view.setUint8(20, optionBytes === 0 ? UDP : DESTINATION_OPTIONS);
  view.setUint8(21, 64);
  view.setUint32(22, 0xfd000001);
  view.setUint32(34, port);
  view.setUint32(38, 0xfd000002);
  view.setUint32(50, 7);
  if (optionBytes > 0) {
    view.setUint8(54, UDP);
    view.setUint8(55, optionBytes / 8 - 1);
    // PadN options, of at most 255 bytes each.
    for (let at = 56; at < 54 + optionBytes; at += 2 + bytes[at + 1]) {
      bytes[at] = 1;
      bytes[at + 1] = Math.min(255, 54 + optionBytes - at - 2);
    }
  }
  view.setUint16(transport, port);
  view.setUint16(transport + 2, 5353);
  view.setUint16(transport + 4, 8 + PAYLOAD_BYTES);
  view.setUint16(transport + 6, 0x1234);
  return bytes;
}

/** What leaves the machine: bytes that were in the buffer, and bytes on the wire. */
async function forwarded(packets: readonly Uint8Array[], headerSplit: boolean): Promise<[number, number][]> {
  const file = join(folder, "capture.pcap");
  const writer = new CaptureWriter({ linkTypes: [1] });
  packets.forEach((bytes, at) => writer.add(bytes, 0, bytes.length, { timestampNs: at * 1000 }));
  writeFileSync(file, writer.finish());
  const scenario = loadScenario(defaultScenarioFile, { pcap: file, machine: "laptop", cpus: 2 });
  const seen: [number, number][] = [];
  const tap = (wire: Wire, _machine: unknown, { columns }: PacketPool): Wire => ({
    transmitted(id) {
      seen.push([columns.lengths[id], columns.wireLengths[id]]);
      wire.transmitted(id);
    },
    departed: (mark) => wire.departed(mark),
  });
  const traffic = { ...scenario.traffic, repeat: 1, clients: 1 };
  const config = { ...scenario, traffic, nic: { ...scenario.nic, headerSplit }, threads: [], events: [] };
  const { report } = await emulate(config, { tap });
  expect(report.drops.byReason).toEqual({ rxMissed: 0, malformed: 0, noConnection: 0, noBuffer: 0 });
  expect(report.connections.created).toBe(packets.length);
  return seen.sort(([, x], [, y]) => x - y);
}

test("the card splits packets whose headers fit a header buffer, and brings in whole those whose headers do not", async () => {
  const options = [0, 192, 200, 400, 1600];
  const packets = options.map((bytes, at) => packet(bytes, 1000 + at));
  const headers = options.map((bytes) => 14 + 40 + bytes + 8);
  const whole = headers.map((bytes) => bytes + PAYLOAD_BYTES);
  const held = headers.map((bytes) => (bytes <= 256 ? bytes : bytes + PAYLOAD_BYTES));
  expect(held).toEqual([62, 254, 326, 526, 1726]);
  expect(await forwarded(packets, true)).toEqual(held.map((bytes, at) => [bytes, whole[at]]));
  expect(await forwarded(packets, false)).toEqual(whole.map((bytes) => [bytes, bytes]));
});
