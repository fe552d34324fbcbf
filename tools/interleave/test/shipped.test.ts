import { expect, test } from "vitest";
import { explore, search } from "../src/index.ts";

/* The packages as they ship: the workers import them by name, unchanged. */
const SHIPPED = new URL("./fixtures/shipped.mjs", import.meta.url);

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

test("a flow table that reuses entries at once is caught", async () => {
  const { failure } = await search(SHIPPED, { scenario: "flowTableTooEarly" });
  expect(failure?.kind).toBe("data-race");
  expect(failure?.trace.some((line) => /flow-table\.ts:\d+/.test(line.where))).toBe(true);
});
