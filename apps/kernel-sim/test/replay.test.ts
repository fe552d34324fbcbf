import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CaptureWriter, openCapture, summarizeFlows } from "@x/proxy-dataplane";
import { packageFolder } from "../src/package-folder.ts";
import { kernelSim, kernelSimJson } from "./cli.ts";

const loopback = openCapture(readFileSync(join(packageFolder, "captures/loopback.pcap")));
const PACKETS = 300;

test("replay writes what left the machine: every packet, translated, with good checksums; bad output is a usage error", () => {
  const folder = mkdtempSync(join(tmpdir(), "replay-"));
  try {
    const [input, output] = [join(folder, "in.pcap"), join(folder, "out.pcap")];
    const writer = new CaptureWriter({ linkTypes: [1] });
    for (let i = 0; i < PACKETS; i++) {
      writer.add(loopback.bytes, loopback.offsets[i], loopback.lengths[i], { timestampNs: loopback.timestampsNs[i] });
    }
    writeFileSync(input, writer.finish());
    const more = ["--machine", "laptop", "--cpus", "2"];
    expect(kernelSimJson(["replay", input, "--out", output, ...more])).toMatchObject({
      packetsIn: PACKETS,
      packetsOut: PACKETS,
    });
    const before = summarizeFlows(openCapture(writer.finish()));
    const after = summarizeFlows(openCapture(readFileSync(output)));
    expect(after.checksums).toEqual(before.checksums);
    expect([after.tcp, after.udp, after.icmp, after.arp, after.malformed]).toEqual([
      before.tcp,
      before.udp,
      before.icmp,
      before.arp,
      before.malformed,
    ]);
    const ends = after.conversations.map(({ b, bPort }) => `${b} ${bPort}`);
    expect(ends).toContain("10.20.0.1 1080");
    const nowhere = kernelSim(["replay", input, "--out", join(folder, "no", "such", "out.pcap"), ...more]);
    expect([nowhere.status, nowhere.stderr]).toEqual([2, expect.stringContaining("cannot be written (ENOENT)")]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 120_000);
