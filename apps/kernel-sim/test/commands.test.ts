import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { packageFolder } from "../src/package-folder.ts";
import type { RunReport } from "../src/report/run-report.ts";
import { kernelSim, kernelSimJson } from "./cli.ts";

const folder = mkdtempSync(join(tmpdir(), "kernel-sim-"));
afterAll(() => rmSync(folder, { recursive: true }));
const scenario = join(folder, "scenario.json");
writeFileSync(scenario, JSON.stringify({ machine: "laptop", traffic: { repeat: 10 } }));
const fixture = (path: string): string => join(packageFolder, path);

test("help names every command, and each command's help has an example", () => {
  const { stdout, status } = kernelSim(["--help"]);
  expect(status).toBe(0);
  const commands = ["run", "boot", "acpi", "topology", "flows", "hash", "convert", "litmus", "machines"];
  for (const command of commands) {
    expect(stdout).toContain(command);
    const help = kernelSim([command, "--help"]);
    expect(help.status).toBe(0);
    if (command !== "machines") expect(help.stdout).toContain("Example");
  }
});

test("hash answers a list of vectors, null for what it does not know, and says which one it cannot use", () => {
  const file = join(folder, "vectors.json");
  const digits = "313233343536373839";
  const ends = { source: "192.168.0.89", sourcePort: 8, destination: "192.168.0.1", destinationPort: 0, protocol: 1 };
  const vectors = [
    { id: "a", algorithm: "crc32", inputHex: digits },
    { id: "b", algorithm: "crc32c", init: "0xffffffff", xorOut: "0xffffffff", inputHex: digits },
    { id: "c", algorithm: "siphash-2-4", keyHex: "000102030405060708090a0b0c0d0e0f", inputHex: "" },
    { id: "d", algorithm: "community-id", tuple: ends },
    { id: "e", algorithm: "md5", inputHex: digits },
  ];
  writeFileSync(file, JSON.stringify(vectors));
  const answers = kernelSimJson<{ id: string; value: string | null }[]>(["hash", "--vectors", file]);
  expect(answers.map(({ value }) => value)).toEqual([
    "0xcbf43926",
    "0xe3069283",
    "0x726fdb47dd0e0e31",
    "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
    null,
  ]);
  writeFileSync(file, JSON.stringify([vectors[0], { id: "x", algorithm: "crc32", inputHex: "abc" }]));
  const wrong = kernelSim(["hash", "--vectors", file]);
  expect(wrong.status).toBe(2);
  expect(wrong.stderr).toContain("/1: inputHex is not a string of hexadecimal bytes");
  rmSync(file);
});

test("litmus prints what herd7 would, as text and as JSON, and names the place of what it cannot use", () => {
  const { stdout, status } = kernelSim(["litmus", fixture("litmus/sb.json"), "--model", "tso"]);
  expect(status).toBe(0);
  expect(stdout).toContain("States 4\n0:r1=0; 1:r1=0;\n");
  expect(stdout).toContain("Observation SB Sometimes 1 3\n");
  const report = kernelSimJson(["litmus", fixture("litmus/grace-period.json")]);
  const expected = { model: "sc", verdict: "Never", exhausted: true, deadlock: false };
  expect(report).toMatchObject({ ...expected, states: ["1:r1=0; 1:r2=0;", "1:r1=1; 1:r2=0;", "1:r1=1; 1:r2=1;"] });
  const file = join(folder, "program.json");
  writeFileSync(file, JSON.stringify({ name: "x", threads: [{ body: [{ do: { call: "sleep" } }] }] }));
  const wrong = kernelSim(["litmus", file]);
  expect(wrong.status).toBe(2);
  expect(wrong.stderr).toContain(`${file}: /threads/0/body/0/do/call: must be one of load, store`);
  writeFileSync(file, "{");
  expect(kernelSim(["litmus", file])).toMatchObject({ status: 2, stderr: `kernel-sim: ${file}: is not JSON\n` });
  rmSync(file);
});

test("acpi decodes the tables of a machine", () => {
  const [madt, srat, slit] = kernelSimJson<Record<string, unknown>[]>([
    "acpi",
    ...["apic", "srat", "slit"].map((name) => fixture(`machines/server-2s/${name}.dat`)),
  ]);
  expect(madt).toMatchObject({ signature: "APIC", checksumOk: true, localApicAddress: 0xfee00000, errors: [] });
  expect((madt["entries"] as { type: number }[]).filter(({ type }) => type === 0)).toHaveLength(16);
  expect(srat).toMatchObject({ signature: "SRAT" });
  expect(slit).toMatchObject({
    localities: 2,
    matrix: [
      [10, 21],
      [21, 10],
    ],
  });
});

test("topology prints what numactl --hardware prints", () => {
  const { stdout } = kernelSim(["topology", "--acpi", fixture("machines/server-2s")]);
  expect(stdout).toMatch(/^available: 2 nodes \(0-1\)\nnode 0 cpus: 0 1 2 3/);
  expect(stdout).toContain("node   0   1 \n  0:  10  21 \n  1:  21  10 \n");
  expect(kernelSim(["topology", "--host"]).stdout).toContain("node 0 cpus: 0");
});

test("flows agrees with the figures tshark gave for the committed capture", () => {
  const figures = JSON.parse(readFileSync(fixture("captures/loopback.figures.json"), "utf8")) as Record<string, number>;
  const flows = kernelSimJson<Record<string, number> & { flows: Record<string, number> }>([
    "flows",
    fixture("captures/loopback.pcap"),
  ]);
  for (const name of ["packets", "bytes", "ipv4", "ipv6", "arp", "tcp", "udp", "icmp", "fragments"]) {
    if (name in figures) expect([name, flows[name]]).toEqual([name, figures[name]]);
  }
  expect(flows.flows).toMatchObject({ tcp: 325, udp: 131 });
});

test("run prints a boot log and a report, and no progress bar where there is no terminal", () => {
  const { stdout, stderr, status } = kernelSim(["run", scenario, "--cpus", "2"]);
  expect(status).toBe(0);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/^\[ {4}0\.000000\] /);
  for (const line of ["smp: Brought up 1 node, 2 CPUs", "Report of scenario", "trace hash", "Top functions"]) {
    expect(stdout).toContain(line);
  }
  expect(stdout).not.toContain("\u001b[");
});

test("run --out leaves every artefact, complete, and replaces an earlier run's", () => {
  const out = join(folder, "out");
  const report = kernelSimJson<RunReport>(["run", scenario, "--out", out]);
  const names = [
    "dmesg.txt",
    "interrupts.txt",
    "profile.collapsed",
    "profile.csv",
    "profile.json",
    "profile.perf",
    "profile.txt",
    "rcu_trace.txt",
    "report.json",
    "report.txt",
  ];
  expect(readdirSync(out).sort()).toEqual(names);
  expect((JSON.parse(readFileSync(join(out, "report.json"), "utf8")) as RunReport).traceHash).toBe(report.traceHash);
  expect(readFileSync(join(out, "profile.collapsed"), "utf8")).toMatch(/;net_rx_action;/);
  kernelSimJson<RunReport>(["run", scenario, "--cpus", "1", "--out", out]);
  expect(readFileSync(join(out, "dmesg.txt"), "utf8")).toContain("1 CPUs");
  expect(readdirSync(folder).sort()).toEqual(["out", "scenario.json"]);
  const folded = kernelSim(["convert", join(out, "profile.perf")]);
  expect(folded.stdout.split("\n").some((line) => /;mutex_lookup \d+$/.test(line))).toBe(true);
});

test.each([
  { signal: "SIGINT", status: 130 },
  { signal: "SIGTERM", status: 143 },
] as const)("a run that is ended by $signal leaves nothing in --out, nor beside it", async ({ signal, status }) => {
  const around = mkdtempSync(join(folder, "around-"));
  const endless = join(folder, "endless.json");
  writeFileSync(endless, JSON.stringify({ machine: "laptop", traffic: { repeat: 100_000 } }));
  const program = join(packageFolder, "bin", "kernel-sim.js");
  const child = spawn(process.execPath, [program, "run", endless, "--out", join(around, "out")]);
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  let output = "";
  child.stdout.on("data", (text: Buffer) => {
    output += text.toString();
    if (output.includes("Run /sbin/init")) child.kill(signal);
  });
  expect(await ended).toBe(status);
  expect(readdirSync(around)).toEqual([]);
});
