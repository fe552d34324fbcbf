/*
 * Data races by definition (ECMA-262 § 29): in some interleaving two accesses of one word by different threads, at least
 * one a write and not both atomic, are ordered by no chain of program order and of atomic reads from atomic writes.
 * Everything is enumerated; nothing is shared with the tool.
 */
import type { Program } from "./model.ts";

interface Access {
  readonly thread: number;
  readonly word: number;
  readonly write: boolean;
  readonly atomic: boolean;
  /** All accesses that happen before this one. */
  readonly before: ReadonlySet<Access>;
}

interface Run {
  readonly counters: readonly number[];
  readonly memory: readonly number[];
  readonly accesses: readonly Access[];
}

/** Whether some interleaving of the program has a data race. */
export function hasDataRace(program: Program): boolean {
  const runs: Run[] = [{ counters: program.map(() => 0), memory: [0, 0, 0, 0], accesses: [] }];
  for (let run = runs.pop(); run !== undefined; run = runs.pop()) {
    const current = run;
    // The last instruction made at most two accesses.
    if (isRacy(current.accesses) || isRacy(current.accesses.slice(0, -1))) return true;
    program.forEach((instructions, thread) => {
      if (current.counters[thread] < instructions.length) runs.push(perform(program, current, thread));
    });
  }
  return false;
}

function isRacy(accesses: readonly Access[]): boolean {
  const last = accesses.at(-1);
  if (last === undefined) return false;
  return accesses.some((each) => {
    if (each.thread === last.thread || each.word !== last.word) return false;
    if (!each.write && !last.write) return false;
    return !(each.atomic && last.atomic) && !last.before.has(each);
  });
}

/** One instruction of the thread; "read-if" takes two turns, its second a plain read that may not happen. */
function perform(program: Program, run: Run, thread: number): Run {
  const counter = run.counters[thread];
  const [operation, at, value, other] = program[thread][counter];
  const counters = run.counters.with(thread, counter + 1);
  const before = run.memory[at];
  const next = (write: boolean, atomic: boolean, written = before): Run => ({
    counters,
    memory: run.memory.with(at, written),
    accesses: [...run.accesses, access(run.accesses, thread, at, write, atomic, operation !== "store")],
  });
  switch (operation) {
    case "read":
      return next(false, false);
    case "write":
      return next(true, false, value);
    case "store":
      return next(true, true, value);
    case "add":
      return next(true, true, before + value);
    case "load":
      return next(false, true);
    case "cas":
      return before === value ? next(true, true, other) : next(false, true);
    default: {
      // The plain read is joined to the load: where it takes place makes no difference to what orders it.
      const loaded = next(false, true);
      if (before !== value) return loaded;
      const read = access(loaded.accesses, thread, other, false, false, false);
      return { ...loaded, accesses: [...loaded.accesses, read] };
    }
  }
}

function access(
  earlier: readonly Access[],
  thread: number,
  word: number,
  write: boolean,
  atomic: boolean,
  reads: boolean,
): Access {
  const before = new Set<Access>();
  const follow = (each: Access | undefined): void => {
    if (each === undefined) return;
    before.add(each);
    for (const ancestor of each.before) before.add(ancestor);
  };
  follow(earlier.findLast((each) => each.thread === thread));
  if (atomic && reads) follow(earlier.findLast((each) => each.word === word && each.write && each.atomic));
  return { thread, word, write, atomic, before };
}
