import { expect, test } from "vitest";
import { explore, search } from "../src/index.ts";

/*
 * Shapes after Alglave, Maranget, Tautschnig: Herding Cats (TOPLAS 2014), table II. Atomics are sequentially consistent
 * (ECMA-262 § 29), so the outcomes are exactly those of some interleaving. An outcome is what was read, in thread
 * order, then the final x and y.
 */
const allowed: Record<string, string[]> = {
  // Not "1 0": the flag without the message.
  MP: ["0 0 | 1 1", "0 1 | 1 1", "1 1 | 1 1"],
  // Not "0 0".
  SB: ["0 1 | 1 1", "1 0 | 1 1", "1 1 | 1 1"],
  // Not "1 1".
  LB: ["0 0 | 1 1", "0 1 | 1 1", "1 0 | 1 1"],
  // Not "0 | 1 2": y = 2 last, and yet x is not seen.
  R: ["0 | 1 1", "1 | 1 1", "1 | 1 2"],
  // Not "1 | 2 1": y seen, and yet x = 2 last.
  S: ["0 | 1 1", "0 | 2 1", "1 | 1 1"],
  // Not "| 1 1": both first stores last.
  "2+2W": [" | 1 2", " | 2 1", " | 2 2"],
  // Not "1 0 1 0": the readers disagree. All other 15.
  IRIW: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15].map(
    (bits) => `${[8, 4, 2, 1].map((bit) => (bits & bit) / bit).join(" ")} | 1 1`,
  ),
  // Not "1 1 0".
  WRC: ["0 0 0", "0 0 1", "0 1 0", "0 1 1", "1 0 0", "1 0 1", "1 1 1"].map((read) => `${read} | 1 1`),
};

for (const [shape, outcomes] of Object.entries(allowed)) {
  test(`${shape} has the outcomes of sequential consistency and no others`, async () => {
    const module = new URL("./fixtures/litmus.mjs", import.meta.url);
    module.searchParams.set("shape", shape);
    const report = await explore(module);
    expect(report.exhausted).toBe(true);
    expect(Object.keys(report.outcomes).sort()).toEqual(outcomes.toSorted());
  });
}

test("store buffering on plain accesses is a data race", async () => {
  const { failure } = await search(new URL("./fixtures/litmus.mjs", import.meta.url), { scenario: "plain" });
  expect(failure?.kind).toBe("data-race");
  expect(failure?.message).toMatch(/plain read by A in step \d+ and plain write by B in step \d+ are not ordered/);
});

test("plain accesses declared racy are steps, and are not reported", async () => {
  const report = await explore(new URL("./fixtures/litmus.mjs", import.meta.url), { scenario: "racy" });
  expect(report.exhausted).toBe(true);
  expect(Object.keys(report.outcomes).sort()).toEqual(allowed["SB"]);
});
