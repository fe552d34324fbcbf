#!/usr/bin/env node
// Runs the tests against real programs: every package's `test-real/*.test.ts`. They need the packages built, and skip what is
// not installed, by name. The last line is `N passed, N failed, N skipped`.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");
const wanted = process.argv.slice(2);
const folders = ["packages", "apps"]
  .flatMap((group) => readdirSync(join(root, group)).map((name) => join(root, group, name)))
  .filter((folder) => existsSync(join(folder, "test-real")))
  .filter((folder) => wanted.length === 0 || wanted.some((name) => folder.endsWith(`/${name}`)));

const totals = { passed: 0, failed: 0, skipped: 0 };
for (const folder of folders) {
  const report = join(folder, ".reports/real.json");
  rmSync(report, { force: true });
  const { status } = spawnSync(
    process.execPath,
    [join(root, "node_modules/vitest/vitest.mjs"), "run", "--config", join(root, "vitest.real.config.ts")],
    { cwd: folder, stdio: "inherit" },
  );
  if (!existsSync(report)) {
    console.error(`${folder}: the tests did not report (status ${status})`);
    totals.failed++;
    continue;
  }
  const { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites } = JSON.parse(
    readFileSync(report, "utf8"),
  );
  totals.passed += numPassedTests;
  totals.failed += Math.max(numFailedTests, numFailedTestSuites > 0 ? 1 : 0);
  totals.skipped += numPendingTests;
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed > 0 || folders.length === 0 ? 1 : 0;
