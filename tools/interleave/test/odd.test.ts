import { expect, test } from "vitest";
import { explore, search } from "../src/index.ts";

const ODD = new URL("./fixtures/odd.mjs", import.meta.url);

test("a scenario that keeps state between executions is told so", async () => {
  await expect(search(ODD, { scenario: "forgetful" })).rejects.toMatchObject({ code: "INTERLEAVE_NONDETERMINISTIC" });
});

test("a thread that computes for ever is reported with the schedule that led there", async () => {
  await expect(search(ODD, { scenario: "hanging", hangMs: 1500 })).rejects.toMatchObject({
    code: "INTERLEAVE_NO_PROGRESS",
    message: expect.stringContaining("the schedule so far is A2"),
  });
});

test("a thread that ends its worker is reported", async () => {
  await expect(search(ODD, { scenario: "dying" })).rejects.toMatchObject({ code: "INTERLEAVE_THREAD_DIED" });
});

test.for([
  ["nothingShared", /no SharedArrayBuffer/],
  ["brokenSetup", /no memory today/],
  ["isMissing", /exports no scenario "isMissing"/],
] as const)("a scenario that cannot run says why: %s", async ([scenario, message]) => {
  await expect(search(ODD, { scenario })).rejects.toMatchObject({
    code: "INTERLEAVE_INVALID_SCENARIO",
    message: expect.stringMatching(message),
  });
});

test("options out of range are refused at once", async () => {
  await expect(search(ODD, { stepLimit: 0 })).rejects.toMatchObject({ code: "INTERLEAVE_INVALID_ARGUMENT" });
  await expect(search(ODD, { strategy: { kind: "replay", schedule: "A3?" } })).rejects.toMatchObject({
    code: "INTERLEAVE_INVALID_SCHEDULE",
  });
  const strategy = { kind: "pct", depth: 0 } as const;
  await expect(search(ODD, { scenario: "bytesApart", strategy })).rejects.toMatchObject({
    code: "INTERLEAVE_INVALID_ARGUMENT",
  });
});

test("an execution ends although the code under test swallows every error", async () => {
  const { failure } = await search(ODD, { scenario: "swallowing" });
  expect(failure?.message).toContain("saw 2");
  expect(failure?.schedule).toBe("A3B");
});

test("cleaning up while an execution unwinds changes neither the failure nor the next execution", async () => {
  const report = await search(ODD, { scenario: "cleaningUp", keepGoing: true });
  expect(report.failure?.message).toContain("both are inside");
  expect(report.exhausted).toBe(true);
  expect(report.outcomes["[null,null]"]).toBeGreaterThan(0);
});

test("what check() changes is undone before the next execution", async () => {
  const report = await explore(ODD, { scenario: "destructiveCheck" });
  expect(report).toMatchObject({ exhausted: true, executions: 2, finalStates: 1 });
});

test("every kind of view reads and writes as without the tool", async () => {
  const report = await explore(ODD, { scenario: "everyView" });
  expect(report.outcomes).toEqual({ "[16]": 1 });
});

test("bulk methods of two threads on different parts of one array do not race", async () => {
  const report = await explore(ODD, { scenario: "rangesApart" });
  expect(Object.keys(report.outcomes)).toEqual(['["1,1,1,1","7,8,7,8 8 7,8"]']);
});

test("bytes of one word are apart, a word and its byte are not", async () => {
  await explore(ODD, { scenario: "bytesApart" });
  const { failure } = await search(ODD, { scenario: "bytesAndWord" });
  expect(failure?.kind).toBe("data-race");
});

test("memory that is freed twice is found, memory that is allocated again is not", async () => {
  const { failure } = await search(ODD, { scenario: "freedTwice" });
  expect(failure?.kind).toBe("use-after-free");
  const report = await explore(ODD, { scenario: "freedAndAllocated" });
  expect(report.outcomes).toEqual({ "[2]": 1 });
});
