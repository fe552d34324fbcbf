import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { packageFolder } from "../src/package-folder.ts";
import { kernelSim } from "./cli.ts";

const folder = mkdtempSync(join(tmpdir(), "progress-bar-"));
afterAll(() => rmSync(folder, { recursive: true }));

const scenario = join(folder, "small.json");
writeFileSync(scenario, JSON.stringify({ machine: "laptop", traffic: { repeat: 40 } }));

// The `script` of util-linux; that of BSD has no `-e`, and says so.
const script = spawnSync("script", ["-qec", "true", join(folder, "probe")], { stdio: ["ignore", "pipe", "pipe"] });
const hasTerminal = script.status === 0;

/** What a terminal would show of `kernel-sim run …`, escape sequences included. `redirect`: of the shell that runs it. */
function onTerminal(redirect: string): string {
  const typescript = join(folder, "typescript");
  const command = `'${process.execPath}' '${join(packageFolder, "bin", "kernel-sim.js")}' run '${scenario}' ${redirect}`;
  const { status } = spawnSync("script", ["-qec", command, typescript], {
    stdio: ["ignore", "ignore", "ignore"],
    env: { ...process.env, TERM: "xterm", NO_COLOR: undefined },
  });
  expect(status).toBe(0);
  return readFileSync(typescript, "utf8");
}

const BAR = /replaying \[[^\]]*\] +(\d+)% \| \d+\/213640 packets/g;

test.skipIf(!hasTerminal)(
  "a terminal shows a bar that moves and is gone at the end (needs script of util-linux)",
  () => {
    const shown = onTerminal(`> '${join(folder, "stdout")}'`);
    const percents = [...shown.matchAll(BAR)].map(([, percent]) => Number(percent));
    expect(percents[0]).toBe(0);
    expect(new Set(percents).size).toBeGreaterThan(1);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
    // To the first column, and the line erased; the cursor shown again.
    const after = shown.slice(shown.lastIndexOf("replaying"));
    expect(after).toContain("\u001B[1G\u001B[2K");
    expect(after).toContain("\u001B[?25h");
    const printed = readFileSync(join(folder, "stdout"), "utf8");
    expect(printed).not.toContain("replaying");
    expect(printed).toContain("trace hash");
  },
);

test("a pipe gets no bar", () => {
  const { status, stdout, stderr } = kernelSim(["run", scenario]);
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).not.toContain("replaying");
});

test.skipIf(!hasTerminal)(
  "a report on a terminal has no bar when standard error is piped (needs script of util-linux)",
  () => {
    const shown = onTerminal(`2> '${join(folder, "stderr")}'`);
    expect(shown).toContain("trace hash");
    expect(shown).not.toContain("replaying");
    expect(readFileSync(join(folder, "stderr"), "utf8")).toBe("");
  },
);
