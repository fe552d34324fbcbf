import { expect, test } from "vitest";
import { explore, search } from "../src/index.ts";

/* The packages as they ship: the workers import them by name, unchanged. */
const SHIPPED = new URL("./fixtures/shipped.mjs", import.meta.url);
const SHIPPED_CPUS = new URL("./fixtures/shipped-cpus.mjs", import.meta.url);

test("every interleaving of three CPUs on one spin lock keeps the count", async () => {
  const report = await explore(SHIPPED, { scenario: "spinLocks" });
  expect(report.exhausted).toBe(true);
  expect(Object.keys(report.outcomes).sort()).toEqual(["[1,1,0]", "[1,1,1]"]);
});

test("two senders and a receiver lose no message of an IPI mailbox, with at most two preemptions", async () => {
  const strategy = { kind: "exhaustive", preemptionBound: 2 } as const;
  const report = await explore(SHIPPED, { scenario: "ipiMailbox", strategy });
  expect(report.exhausted).toBe(true);
  expect(report.preemptionBound).toBe(2);
});

test("an object cache gives no object to two CPUs and loses none, with at most two preemptions", async () => {
  const strategy = { kind: "exhaustive", preemptionBound: 2 } as const;
  const report = await explore(SHIPPED, { scenario: "kmemCache", strategy });
  expect(report.exhausted).toBe(true);
  expect(report.executions).toBeGreaterThan(50);
});

test.for(["rcuMb", "rcuQsbr"])(
  "a reader never sees what an updater frees after a grace period: %s",
  async (scenario) => {
    const report = await explore(SHIPPED, { scenario });
    expect(report.exhausted).toBe(true);
    expect(Object.keys(report.outcomes).sort()).toEqual(["[70,null]", "[80,null]"]);
  },
);

test("freeing without the grace period is found", async () => {
  const { failure } = await search(SHIPPED, { scenario: "rcuTooEarly" });
  expect(failure?.kind).toBe("use-after-free");
});

test("a flow that is looked up is not reused under the reader", async () => {
  const report = await explore(SHIPPED, { scenario: "flowTable" });
  expect(report.exhausted).toBe(true);
  expect(Object.keys(report.outcomes).sort()).toEqual(["[false,null]", "[true,null]"]);
});

// Generations are read plainly on purpose, so every plain access is a step here: many executions.
test("a stale entry and generation never delete the flow that took their place", { timeout: 600_000 }, async () => {
  const report = await explore(SHIPPED, { scenario: "staleDelete", races: "ignore" });
  expect(report.exhausted).toBe(true);
  expect(Object.keys(report.outcomes).sort()).toEqual(["[false,true]", "[true,false]"]);
});

test("a flow table that reuses entries at once is caught", async () => {
  const { failure } = await search(SHIPPED, { scenario: "flowTableTooEarly" });
  expect(failure?.kind).toBe("data-race");
  expect(failure?.trace.some((line) => /flow-table\.ts:\d+/.test(line.where))).toBe(true);
});

test("a reader of a cell sees one whole version, never an older one than before, with at most three preemptions", async () => {
  const strategy = { kind: "exhaustive", preemptionBound: 3 } as const;
  const report = await explore(SHIPPED, { scenario: "rcuCell", strategy });
  expect(report.exhausted).toBe(true);
  // The second update is refused (0) only while the reader holds the version whose slot it needs.
  expect(Object.keys(report.outcomes)).toContain("[[0,1],[2,0]]");
  expect(Object.keys(report.outcomes)).toContain("[[0,2],[2,3]]");
});

test("no CPU uses a translation after its shootdown; not awaiting it is caught", async () => {
  const report = await explore(SHIPPED_CPUS, { scenario: "tlbShootdown" });
  expect(report.exhausted).toBe(true);
  expect(Object.keys(report.outcomes)).toContain("[null,[true,false]]");
  const { failure } = await search(SHIPPED_CPUS, { scenario: "shootdownNotAwaited" });
  expect(failure?.kind).toBe("use-after-free");
});

test("a thread that blocks, then tests its condition, loses no wake-up; the other order is caught", async () => {
  const report = await explore(SHIPPED_CPUS, { scenario: "blockThenTest" });
  expect(report.exhausted).toBe(true);
  const { failure } = await search(SHIPPED_CPUS, { scenario: "testThenBlock" });
  expect(failure?.message).toContain("the thread sleeps although its condition holds");
});
