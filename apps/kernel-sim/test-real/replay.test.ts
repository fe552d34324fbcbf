import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openCapture, type Capture } from "@x/proxy-dataplane";
import { packageFolder } from "../src/package-folder.ts";
import { kernelSim, kernelSimJson } from "../test/cli.ts";

// Plays captures through the machine and lets tshark judge what left. More captures: REAL_CAPTURES=FOLDER.
const { status } = spawnSync("tshark", ["--version"]);
const folders = [join(packageFolder, "captures"), ...(process.env["REAL_CAPTURES"]?.split(":") ?? [])];
const captures = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .map((name) => join(folder, name)),
);
const scratch = mkdtempSync(join(tmpdir(), "replay-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const direct = join(scratch, "direct.json");
writeFileSync(
  direct,
  JSON.stringify({
    ...JSON.parse(readFileSync(join(packageFolder, "scenarios/default.json"), "utf8")),
    ...noServers(),
  }),
);

function noServers(): object {
  const servers = [{ type: "socks5", address: "10.20.0.1", port: 1080, priority: 10, active: false }];
  return { threads: [], events: [], proxy: { config: { selection: "failover", servers } } };
}

const CHECKSUMS = ["ip", "tcp", "udp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);
const BAD = ["ip", "tcp", "udp"].map((name) => `${name}.checksum.status==0`).join("||");
const BROKEN = ["lost_segment", "ack_lost_segment", "out_of_order", "retransmission"]
  .map((name) => `tcp.analysis.${name}`)
  .join("||");

/** Rows of fields of the frames that a filter selects. */
function tshark(file: string, filter: string, ...fields: string[]): string[] {
  const wanted = fields.flatMap((field) => ["-e", field]);
  const args = ["-r", file, ...CHECKSUMS, "-Y", filter, "-T", "fields", ...wanted];
  const { stdout, status: failed, stderr } = spawnSync("tshark", args, { encoding: "utf8", maxBuffer: 1 << 28 });
  // 2: the file ends early, which some captures do on purpose; what is there was read.
  if (failed !== 0 && failed !== 2) throw new Error(`tshark ${file}: ${stderr}`);
  return stdout.split("\n").filter((line) => line !== "");
}

function play(file: string, ...more: string[]): { out: string; figures: { packetsIn: number; packetsOut: number } } {
  const out = join(scratch, "out.pcap");
  return { out, figures: kernelSimJson(["replay", file, "--out", out, "--machine", "laptop", "--cpus", "2", ...more]) };
}

/** A capture's frames as text, without order. */
function frames({ bytes, count, offsets, lengths }: Capture): string[] {
  const frame = (i: number): string => Buffer.from(bytes.subarray(offsets[i], offsets[i] + lengths[i])).toString("hex");
  return Array.from({ length: count }, (_, i) => frame(i)).sort();
}

/** Whether `kernel-sim` can play it: some captures are damaged on purpose. */
function readable(file: string): boolean {
  return kernelSim(["flows", file, "--json"]).status === 0;
}

describe.skipIf(status !== 0)("tshark on what left the machine", () => {
  for (const file of captures) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    test(`${name}, sent direct: no bad checksum and no broken stream that did not come in, and as many flows`, () => {
      if (!readable(file)) return;
      const { out, figures } = play(file, "--scenario", direct);
      expect(tshark(out, BAD, "frame.number").length).toBeLessThanOrEqual(tshark(file, BAD, "frame.number").length);
      expect(tshark(out, BROKEN, "frame.number").length).toBeLessThanOrEqual(
        tshark(file, BROKEN, "frame.number").length,
      );
      if (figures.packetsIn !== figures.packetsOut) return;
      expect(frames(openCapture(readFileSync(out)))).toEqual(frames(openCapture(readFileSync(file))));
      for (const stream of ["tcp.stream", "udp.stream"]) {
        expect(new Set(tshark(out, stream, stream)).size).toBe(new Set(tshark(file, stream, stream)).size);
      }
    });

    test(`${name}, translated: no bad checksum, and answers leave as if nobody had translated`, () => {
      if (!readable(file)) return;
      const { out } = play(file);
      expect(tshark(out, BAD, "frame.number").length).toBeLessThanOrEqual(tshark(file, BAD, "frame.number").length);
      const before = new Set(frames(openCapture(readFileSync(file))));
      const after = frames(openCapture(readFileSync(out)));
      const servers = /0a140001|0a140002|fd000020000000000000000000000003/;
      // What does not go to a server of the configuration leaves as it came: the answers among it were translated back.
      for (const frame of after) if (!servers.test(frame)) expect(before.has(frame)).toBe(true);
    });
  }
});
