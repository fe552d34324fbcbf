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

test("where races are ignored, plain accesses are steps as well", async () => {
  const module = new URL("./fixtures/litmus.mjs", import.meta.url);
  const report = await explore(module, { scenario: "plain", races: "ignore" });
  expect(report.exhausted).toBe(true);
  expect(Object.keys(report.outcomes).sort()).toEqual(allowed["SB"]);
});

/*
 * RCU: a read section cannot span a grace period (Alglave, Maranget, McKenney, Parri, Stern: Frightening Small Children
 * and Disconcerting Grown-ups, ASPLOS 2018, § 4). In fixtures/rcu-litmus.mjs the thread with the section makes its two
 * accesses in the opposite order, so that sequential consistency alone lets the cycle close.
 */
const closesTheCycle: Record<string, string> = {
  MP: "0 1 | 1 1",
  SB: "0 0 | 1 1",
  LB: "1 1 | 1 1",
  R: "0 | 1 2",
  S: "1 | 2 1",
  "2+2W": " | 1 1",
  IRIW: "0 1 1 0 | 1 1",
  WRC: "1 1 0 | 1 1",
};

async function explored(shape: string, rcu: string): Promise<string[]> {
  const module = new URL("./fixtures/rcu-litmus.mjs", import.meta.url);
  module.searchParams.set("shape", shape);
  module.searchParams.set("rcu", rcu);
  const report = await explore(module);
  expect(report.exhausted).toBe(true);
  return Object.keys(report.outcomes).sort();
}

const withoutRcu = new Map<string, Promise<string[]>>();

function outcomesWithoutRcu(shape: string): Promise<string[]> {
  const known = withoutRcu.get(shape) ?? explored(shape, "none");
  withoutRcu.set(shape, known);
  return known;
}

for (const [shape, outcome] of Object.entries(closesTheCycle)) {
  test.for(["qsbr", "memory-barrier", "sleepable"])(
    `${shape}: a read section and a grace period of flavour %s forbid exactly the outcome that spans it`,
    async (flavour) => {
      const without = await outcomesWithoutRcu(shape);
      expect(without).toContain(outcome);
      expect(await explored(shape, flavour)).toEqual(without.filter((each) => each !== outcome));
    },
  );
}
