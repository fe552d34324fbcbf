import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { explore } from "../src/index.ts";

/* Every package keeps the scenarios of its lock-free code in test/fixtures/interleavings.mjs; they all hold. */
const PACKAGES = join(import.meta.dirname, "../../../packages");
// What is explored does not depend on the engine: where the same tests run on a second Node version, a smaller bound will do.
const preemptionBound = Number(process.env["INTERLEAVE_PREEMPTIONS"] ?? 2);
const strategy = { kind: "exhaustive", preemptionBound } as const;

const files = readdirSync(PACKAGES)
  .map((name) => ({ name, file: join(PACKAGES, name, "test/fixtures/interleavings.mjs") }))
  .filter(({ file }) => existsSync(file));

const scenarios: (readonly [string, string, URL])[] = [];
for (const { name, file } of files) {
  const url = pathToFileURL(file);
  const exported = (await import(url.href)) as Record<string, unknown>;
  for (const scenario of Object.keys(exported)) scenarios.push([name, scenario, url]);
}

test("the packages with lock-free code have scenarios", () => {
  expect(files.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["numa", "perf-cache", "preempt", "profiling", "proxy-dataplane", "rcu", "slab", "smp"]),
  );
  expect(scenarios.length).toBeGreaterThan(25);
});

test.for(scenarios)(
  `%s: %s holds under every interleaving of at most ${preemptionBound} preemptions`,
  async ([, scenario, url]) => {
    const report = await explore(url, { scenario, strategy });
    expect(report.exhausted).toBe(true);
  },
);
