import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { packageFolder } from "../src/package-folder.ts";
import { kernelSim } from "./cli.ts";

const folder = mkdtempSync(join(tmpdir(), "kernel-sim-"));
afterAll(() => rmSync(folder, { recursive: true }));

const fixture = (path: string): Uint8Array => readFileSync(join(packageFolder, path));
function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** Status 2, one line on standard error that names everything in `parts`, nothing on standard output. */
function refused(args: readonly string[], ...parts: (string | RegExp)[]): void {
  const { status, stdout, stderr } = kernelSim(args);
  expect(stderr).not.toMatch(/^\s+at /m);
  for (const part of parts) expect(stderr).toMatch(part);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(stdout).toBe("");
  expect(status).toBe(2);
}

describe("tables", () => {
  const apic = fixture("machines/server-2s/apic.dat");

  test("a table shorter than its header says is refused with the offset where it ends", () => {
    refused(["acpi", file("short.dat", apic.subarray(0, 100))], "short.dat", "offset 100", "234");
  });

  test("a table without a whole header is refused", () => {
    refused(["acpi", file("tiny.dat", apic.subarray(0, 20)), "--json"], "tiny.dat", "offset 20");
  });

  test("a missing file is named", () => {
    refused(["acpi", join(folder, "none.dat")], "none.dat", "ENOENT");
  });

  test("a machine with a truncated table does not boot", () => {
    const machine = join(folder, "machine");
    mkdirSync(machine);
    writeFileSync(join(machine, "apic.dat"), apic.subarray(0, 120));
    refused(["run", "--machine", machine], "apic.dat", "offset 120");
  });

  test("a folder without a MADT is no machine", () => {
    const machine = join(folder, "empty");
    mkdirSync(machine);
    refused(["boot", "--machine", machine], "empty", "MADT");
  });

  test("topology wants exactly one source", () => {
    refused(["topology"], "--acpi DIR");
    refused(["topology", "--acpi", folder, "--host"], "exactly one");
  });
});

describe("captures", () => {
  const capture = fixture("captures/loopback.pcap");

  test("a capture that ends inside a record is refused with the offset of the record", () => {
    refused(["flows", file("cut.pcap", capture.subarray(0, 1000))], "cut.pcap", /offset \d+/);
    refused(["run", "--pcap", join(folder, "cut.pcap")], "cut.pcap", /offset \d+/);
  });

  test("a file that is no capture is refused", () => {
    refused(["run", "--pcap", file("noise.pcap", "this is not a capture at all")], "noise.pcap");
  });

  test("a capture without packets has nothing to replay", () => {
    refused(["run", "--pcap", file("none.pcap", capture.subarray(0, 24))], "none.pcap", "no packet");
  });
});

describe("scenarios", () => {
  const run = (name: string, scenario: unknown): string[] => ["run", file(name, JSON.stringify(scenario))];

  test("a member with a wrong value is named by its JSON pointer", () => {
    refused(run("rate.json", { traffic: { packetsPerSecond: -1 } }), "rate.json", "/traffic/packetsPerSecond");
    refused(run("step.json", { threads: [{ name: "x", steps: [{ computeUs: "long" }] }] }), "/threads/0/steps/0");
  });

  test("an unknown member is named", () => {
    refused(run("typo.json", { trafic: {} }), "typo.json", "trafic");
  });

  test("a file that is no JSON is refused", () => {
    refused(["run", file("broken.json", '{ "seed": 1,')], "broken.json", "not JSON");
  });

  test("a thread whose CPUs the machine lacks is refused", () => {
    const threads = [{ name: "x", cpus: "90-95", steps: [{ computeUs: 5 }] }];
    refused(run("cpus.json", { machine: "laptop", threads }), "/threads/0/cpus", "90-95");
    const late = [{ name: "x", cpus: "7", steps: [{ computeUs: 5 }] }];
    refused(run("late.json", { machine: "laptop", cpus: 2, threads: late }), "/threads/0/cpus", "brought up");
  });

  test("servers that cannot be reached by their address are refused", () => {
    const config = { selection: "failover", servers: [{ type: "socks5", address: "not-an-address", port: 1 }] };
    refused(run("server.json", { proxy: { config } }), "server.json", "/proxy/config/servers/0/address");
    refused(run("event.json", { events: [{ atMs: 1, config }] }), "event.json", "/events/0/config/servers/0/address");
  });
});

describe("usage", () => {
  test("an unknown machine is refused with those that exist", () => {
    refused(["run", "--machine", "cray"], "cray", "server-2s", "host");
  });

  test("more CPUs than the machine has are refused, and none at all", () => {
    refused(["run", "--machine", "laptop", "--cpus", "9"], "9 CPUs", "has 8");
    const { status, stderr } = kernelSim(["run", "--cpus", "0"]);
    expect(status).toBe(2);
    expect(stderr).toContain("1 to 256");
  });

  test("more memory than can be modelled is refused", () => {
    const scenario = { machine: "server-4n", kernel: { memoryMiBPerNode: 1024 } };
    refused(["run", file("memory.json", JSON.stringify(scenario)), "--json"], "4192 MiB", "memoryMiBPerNode");
  });

  test("an unknown command or option is refused", () => {
    for (const args of [["fly"], ["run", "--fast"], ["convert"]]) expect(kernelSim(args).status).toBe(2);
  });

  test("nothing is written where the run fails or the folder cannot be", () => {
    const out = join(folder, "out");
    expect(kernelSim(["run", "--machine", "cray", "--out", out]).status).toBe(2);
    expect(existsSync(out)).toBe(false);
    const taken = file("taken", "a file, not a folder");
    const small = file("small.json", JSON.stringify({ machine: "laptop", traffic: { repeat: 1 } }));
    refused(["run", small, "--json", "--out", join(taken, "out")], "taken");
  });
});
