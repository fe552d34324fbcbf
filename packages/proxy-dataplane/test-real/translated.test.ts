import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  CaptureWriter,
  openCapture,
  PacketInfo,
  parseFrame,
  verifyIpChecksum,
  verifyTransportChecksum,
  type Capture,
} from "@x/proxy-dataplane";
import { configOf, machine, type Machine } from "../test/machine.ts";
import { FarSide, resegment } from "./far-side.ts";

// Plays captures through a box that translates every source, clamps segment sizes and has a small MTU, and lets tshark judge both its sides.
// More captures: REAL_CAPTURES=FOLDER.
const MTU = 1000;
const { status } = spawnSync("tshark", ["--version"]);
const repository = join(import.meta.dirname, "../../../apps/kernel-sim/captures");
const folders = [repository, ...(process.env["REAL_CAPTURES"]?.split(":") ?? [])];
const captures = folders
  .filter((folder) => existsSync(folder))
  .flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => /\.pcap(ng)?$/.test(name))
      .map((name) => join(folder, name)),
  );
const scratch = mkdtempSync(join(tmpdir(), "translated-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const CHECKSUMS = ["ip", "tcp", "udp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);
const BAD = ["ip", "tcp", "udp", "icmp", "icmpv6"].map((name) => `${name}.checksum.status==0`).join("||");
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

const count = (file: string, filter: string): number => tshark(file, filter, "frame.number").length;

function box(): Machine {
  const translation = {
    own: ["198.18.0.254", "2001:2::fe"],
    source: [{ to: ["198.18.0.1-198.18.0.4", "2001:2::1-2001:2::4"] }],
  };
  return machine({
    initial: configOf([], { translation }),
    maxConnections: 65_536,
    network: { mtu: MTU, clampMss: true, answersPerSecond: 1_000_000, answerBurst: 1_000_000 },
    buffers: 256,
    bufferBytes: 65_536,
  });
}

interface Played {
  /** The wire between clients and the box, between the box and the far side, and the box's own messages. */
  readonly near: string;
  readonly far: string;
  readonly own: string;
  readonly m: Machine;
  /** Packets of the far side that came to their client, and those of them that are byte for byte what was captured. */
  delivered: number;
  same: number;
  /** Packets that the path did not take and nobody could send anew: damaged ones, and long datagrams that must not be fragmented. */
  lost: number;
}

function play(file: string, capture: Capture): Played {
  const m = box();
  const farSide = new FarSide();
  const linkTypes = [...new Set(capture.linkTypes)];
  const files = {
    near: join(scratch, "near.pcapng"),
    far: join(scratch, "far.pcapng"),
    own: join(scratch, "own.pcapng"),
  };
  const writers = Object.values(files).map(() => new CaptureWriter({ linkTypes, format: "pcapng" }));
  const [near, far, own] = writers;
  const played: Played = { ...files, m, delivered: 0, same: 0, lost: 0 };
  for (let i = 0; i < capture.count; i++) {
    const [from, length] = [capture.offsets[i], capture.lengths[i]];
    if (length > m.pool.bufferBytes) continue;
    const linkType = capture.linkTypes[i];
    const packet = { linkType, timestampNs: capture.timestampsNs[i] };
    const wireLength = capture.wireLengths[i];
    const captured = capture.bytes.slice(from, from + length);
    const isFar = farSide.isFar(captured, linkType);
    const [here, there] = isFar ? [far, near] : [near, far];
    const put = (writer: CaptureWriter, frame: Uint8Array): void =>
      writer.add(frame, 0, frame.length, { ...packet, wireLength: frame.length + Math.max(0, wireLength - length) });
    const through = (frame: Uint8Array, wireBytes: number, mayRetry: boolean): void => {
      const before = m.dataplane.details().answersTooBig;
      const out = send(m, frame, wireBytes, linkType);
      if (m.dataplane.details().answersTooBig > before) {
        for (const one of out) put(own, one);
        expect(mayRetry).toBe(true);
        // Of IPv6 no path takes less than 1280 bytes.
        const parts = resegment(frame, linkType, isIpv6(frame, linkType) ? 1280 : MTU);
        if (parts.length === 0) played.lost++;
        for (const part of parts) through(part, part.length, false);
        return;
      }
      if (out.length === 0) played.lost++;
      put(here, frame);
      for (const one of out) put(there, one);
      if (!isFar && out.length > 0) farSide.learn(frame, out[0], linkType);
      if (isFar && mayRetry && out.length === 1) {
        played.delivered++;
        if (Buffer.compare(out[0], captured) === 0) played.same++;
      }
    };
    through(isFar ? farSide.say(captured, linkType) : captured, wireLength, true);
  }
  Object.values(files).forEach((name, which) => writeFileSync(name, writers[which].finish()));
  return played;
}

function isIpv6(frame: Uint8Array, linkType: number): boolean {
  const info = new PacketInfo();
  parseFrame(frame, 0, frame.length, frame.length, linkType, info);
  return info.network === 6;
}

function send(m: Machine, frame: Uint8Array, wireLength: number, linkType: number): Uint8Array[] {
  const { pool, dataplane } = m;
  const id = pool.alloc();
  pool.write(id, frame, 0, frame.length, wireLength);
  pool.columns.linkTypes[id] = linkType;
  const out = new Int32Array(dataplane.roomFor(1));
  const sent = dataplane.process(Int32Array.of(id), 1, out);
  const frames = Array.from(out.subarray(0, sent), (one) => m.read(one));
  pool.freeMany(out, sent);
  m.rcu.quiescent();
  return frames;
}

/** Frames whose own checksums are bad; segments in them that were clamped stay as bad as they were. */
function ownBad(capture: Capture): number {
  const info = new PacketInfo();
  let bad = 0;
  for (let i = 0; i < capture.count; i++) {
    parseFrame(
      capture.bytes,
      capture.offsets[i],
      capture.lengths[i],
      capture.wireLengths[i],
      capture.linkTypes[i],
      info,
    );
    if (verifyIpChecksum(capture.bytes, info) === 2 || verifyTransportChecksum(capture.bytes, info) === 2) bad++;
  }
  return bad;
}

function opened(file: string): Capture | undefined {
  try {
    // Not a Buffer, whose slices share its bytes.
    return openCapture(Uint8Array.from(readFileSync(file)), file, { allowTruncated: true });
  } catch {
    return undefined;
  }
}

describe.skipIf(status !== 0)("tshark on both sides of a box that translates, clamps and fragments", () => {
  for (const file of captures) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    test(`${name}: no bad checksum and no broken stream that did not come in, nothing too long, and translation undone`, () => {
      const capture = opened(file);
      if (capture === undefined) return;
      const { near, far, own, m, delivered, same, lost } = play(file, capture);
      const isOurs = file.startsWith(repository);
      const [bad, broken] = [count(file, BAD), count(file, BROKEN)];
      for (const side of [near, far]) {
        expect(count(side, BAD)).toBeLessThanOrEqual(bad);
        // A stream of which the path has taken a packet for good is broken.
        if (lost === 0 || isOurs) expect(count(side, BROKEN)).toBeLessThanOrEqual(broken);
      }
      // Of what is quoted in part tshark cannot tell.
      expect(count(own, "ip.checksum.status==0||icmp.checksum.status==0||icmpv6.checksum.status==0")).toBe(0);
      expect(count(own, `!(icmp.type==3&&icmp.code==4&&icmp.mtu==${MTU})&&!(icmpv6.type==2&&icmpv6.mtu==1280)`)).toBe(
        0,
      );
      // What came through is not longer than the path, and its announced segments fit.
      const { mssClamped, fragmentedPackets } = m.dataplane.details();
      // Tunnels are not opened: what is in them is as it was.
      const open = "!udp&&!gre&&!(ip&&ipv6)";
      const ours4 = "ip.src==198.18.0.0/24&&!icmp.type==3";
      const ours6 = "ipv6.src==2001:2::/64&&!(icmpv6.type<128)";
      expect(count(far, `(${ours4}&&ip.len>${MTU})||(${ours6}&&ipv6.plen>${1280 - 40})`)).toBe(0);
      const announced = `(${ours4}&&tcp.options.mss_val>${MTU - 40})||(${ours6}&&tcp.options.mss_val>${1280 - 60})`;
      expect(count(far, `tcp.flags.syn==1&&${open}&&(${announced})`)).toBe(0);
      // Whatever was not clamped or cut comes to clients as it was captured.
      expect(same).toBeGreaterThanOrEqual(delivered - mssClamped - fragmentedPackets - ownBad(capture));
      expect(m.pool.inUse).toBe(0);
      if (isOurs) {
        expect(delivered).toBeGreaterThan(1000);
        expect([mssClamped > 0, fragmentedPackets > 0, m.dataplane.details().relatedTranslated > 0]).toEqual([
          true,
          true,
          true,
        ]);
        expect(count(own, "icmp||icmpv6")).toBeGreaterThan(10);
      }
    });
  }
});
