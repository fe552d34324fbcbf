import { join } from "node:path";
import { describe, expect } from "vitest";
import { digest, patterned } from "../test/relay/peers.ts";
import { engines, expectAtRest, folder, output, proxy, run, web, withPrograms } from "./programs.ts";

const CHECKSUMS = ["ip", "tcp", "udp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);

/** A field of each packet that a filter selects, as tshark reads it. */
const FIELDS = [
  "ip.checksum.status",
  "tcp.checksum.status",
  "tcp.flags.str",
  "tcp.analysis.flags",
  "_ws.malformed",
  "http.content_length",
];

describe.each(engines)("--pcap, %s engine", (engine) => {
  withPrograms(["curl", "tshark"], "tshark finds whole connections and nothing to complain about", async () => {
    const { port: target } = await web();
    const pcap = join(folder, `day-${engine}.pcap`);
    const { proxy: running, port } = await proxy(engine, { pcap, workers: 2 });
    const sent = patterned(300_000, 8);
    const args = ["-sS", "--noproxy", "", "-x", `socks5://127.0.0.1:${port}`, "--data-binary", "@-"];
    const url = `http://127.0.0.1:${target}/`;
    const gone = await Promise.all(Array.from({ length: 4 }, () => run("curl", [...args, url], sent)));
    for (const { status, stdout } of gone) expect([status, digest(stdout)]).toEqual([0, digest(sent)]);
    await expectAtRest(running);
    await running.close();
    expect(running.status().counters.captureLost).toBe(0);

    const wanted = FIELDS.flatMap((field) => ["-e", field]);
    const text = await output("tshark", ["-r", pcap, ...CHECKSUMS, "-T", "fields", ...wanted]);
    const rows = text
      .split("\n")
      .slice(0, -1)
      .map((line) => line.split("\t"));
    const column = (name: string): string[] => rows.map((row) => row[FIELDS.indexOf(name)]);
    // 1 is good.
    expect(new Set([...column("ip.checksum.status"), ...column("tcp.checksum.status")])).toEqual(new Set(["1"]));
    expect(new Set([...column("tcp.analysis.flags"), ...column("_ws.malformed")])).toEqual(new Set([""]));
    const flags = column("tcp.flags.str").map((each) => each.replaceAll("·", ""));
    const count = (text: string): number => flags.filter((each) => each === text).length;
    expect([count("S"), count("AS"), count("AF"), count("AR")]).toEqual([4, 4, 8, 0]);
    expect(column("http.content_length").filter((length) => length === `${sent.length}`).length).toBe(8);

    // As tshark puts a stream together again, its end is what was sent and came back.
    const follow = await output("tshark", ["-q", "-r", pcap, "-z", "follow,tcp,raw,0"]);
    const lines = follow.split("\n").filter((line) => /^\t?[0-9a-f]{4,}$/.test(line));
    const side = (isServer: boolean): Buffer =>
      Buffer.from(lines.flatMap((line) => (line.startsWith("\t") === isServer ? [line.trim()] : [])).join(""), "hex");
    for (const bytes of [side(false), side(true)]) expect(bytes.subarray(-sent.length).equals(sent)).toBe(true);
  });
});
