import * as fc from "fast-check";
import { expect, test } from "vitest";
import { search, type StrategyOptions } from "../src/index.ts";
import { type Instruction, modelOutcomes, type Program } from "./model.ts";
import { hasDataRace } from "./race-model.ts";

/** Outcomes that the tool sees; every way to get stuck counts as one. */
async function exploredOutcomes(program: Program, strategy: StrategyOptions): Promise<string[]> {
  const module = new URL("./fixtures/program.mjs", import.meta.url);
  module.searchParams.set("program", JSON.stringify(program));
  const report = await search(module, { strategy, keepGoing: true });
  if (strategy.kind === "exhaustive") expect(report.exhausted).toBe(true);
  return stuckAsOne(Object.keys(report.outcomes));
}

function stuckAsOne(outcomes: string[]): string[] {
  return [...new Set(outcomes.map((outcome) => (outcome.startsWith("failed") ? "failed: stuck" : outcome)))].sort();
}

const word = fc.integer({ min: 0, max: 1 });
const value = fc.integer({ min: 0, max: 2 });
const instruction = (operations: string[]): fc.Arbitrary<Instruction> =>
  fc.tuple(fc.constantFrom(...operations), word, value, value).map(([operation, at, first, second]) => {
    const spins = operation.startsWith("spin");
    return [operation, at, spins ? Math.max(first, 1) : first, operation === "spin-either" ? 1 - at : second];
  });
const programs = (operations: string[], max: number): fc.Arbitrary<Program> =>
  fc.integer({ min: 2, max: 3 }).chain((threads) =>
    fc.array(fc.array(instruction(operations), { minLength: 1, maxLength: threads === 2 ? max + 1 : max }), {
      minLength: threads,
      maxLength: threads,
    }),
  );
const FREE = ["load", "load", "store", "store", "add", "exchange", "cas", "cas"];
const BLOCKING = [...FREE, "wait", "await", "notify", "notify", "spin", "spin-either"];

test("reduction loses no outcome: threads that block, spin and notify", async () => {
  await fc.assert(
    fc.asyncProperty(programs(BLOCKING, 3), async (program) => {
      expect(await exploredOutcomes(program, { kind: "exhaustive" })).toEqual(modelOutcomes(program));
    }),
    { numRuns: 20 },
  );
});

test("reduction under a preemption bound loses no outcome of that bound", async () => {
  await fc.assert(
    fc.asyncProperty(programs(FREE, 3), fc.integer({ min: 0, max: 2 }), async (program, preemptionBound) => {
      const explored = await exploredOutcomes(program, { kind: "exhaustive", preemptionBound });
      expect(explored).toEqual(modelOutcomes(program, preemptionBound));
    }),
    { numRuns: 20 },
  );
});

test("a data race is reported if and only if some interleaving has one", async () => {
  const operations = ["load", "store", "store", "add", "cas", "read", "write", "read-if", "read-if"];
  // Few words of plain data, so that about half of the programs race.
  const programs = fc.array(fc.array(instruction(operations), { minLength: 1, maxLength: 4 }), {
    minLength: 2,
    maxLength: 2,
  });
  const seen = { racy: 0, clean: 0 };
  await fc.assert(
    fc.asyncProperty(programs, async (generated) => {
      const program = generated.map((thread) =>
        thread.map(([operation, at, first, second]): Instruction => {
          if (operation === "read" || operation === "write") return [operation, 2, first, second];
          return [operation, at, first, operation === "read-if" ? 2 : second];
        }),
      );
      const outcomes = await exploredOutcomes(program, { kind: "exhaustive" });
      const racy = hasDataRace(program);
      expect(outcomes.includes("failed: stuck")).toBe(racy);
      seen[racy ? "racy" : "clean"]++;
    }),
    { numRuns: 30 },
  );
  expect(seen.racy).toBeGreaterThan(0);
  expect(seen.clean).toBeGreaterThan(0);
});

test("without reduction the outcomes are the same and the executions more", async () => {
  const program: Program = [
    [
      ["store", 0, 1, 0],
      ["load", 1, 0, 0],
    ],
    [
      ["store", 1, 1, 0],
      ["load", 0, 0, 0],
    ],
  ];
  const module = new URL("./fixtures/program.mjs", import.meta.url);
  module.searchParams.set("program", JSON.stringify(program));
  const all = await search(module, { strategy: { kind: "exhaustive", reduction: "none" } });
  const reduced = await search(module, {});
  expect(Object.keys(all.outcomes).sort()).toEqual(Object.keys(reduced.outcomes).sort());
  // Two threads of three steps (first turn, store, load): 6! / (3! 3!) schedules; three equivalence classes.
  expect(all.executions).toBe(20);
  expect(reduced.executions).toBe(3);
});

test("random walk and PCT see only outcomes that exist, and the same ones for the same seed", async () => {
  const program: Program = [
    [
      ["add", 0, 1, 0],
      ["cas", 1, 0, 2],
      ["load", 0, 0, 0],
    ],
    [
      ["add", 0, 2, 0],
      ["cas", 1, 0, 1],
      ["load", 1, 0, 0],
    ],
  ];
  const possible = modelOutcomes(program);
  for (const kind of ["random", "pct"] as const) {
    const first = await exploredOutcomes(program, { kind, seed: 5, executions: 200 });
    expect(possible).toEqual(expect.arrayContaining(first));
    expect(first.length).toBeGreaterThan(1);
    expect(await exploredOutcomes(program, { kind, seed: 5, executions: 200 })).toEqual(first);
  }
});
