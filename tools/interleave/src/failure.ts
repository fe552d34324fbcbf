import { Outcome, Status, Word } from "./board.ts";
import type { AccessConflict, DataRaces } from "./data-race.ts";
import type { Execution } from "./execution.ts";
import type { Memory } from "./memory.ts";
import { Flag, Operation, operationName } from "./operation.ts";
import type { FailureKind } from "./report.ts";
import { threadName } from "./schedule.ts";
import type { Stuck } from "./scheduler.ts";
import type { Thrown } from "./thread-runner.ts";

/** What is wrong with an execution, before it is minimised. */
export interface Finding {
  readonly kind: FailureKind;
  readonly message: string;
}

/** Finds what is wrong with an execution; `check` throws if the final state is. */
export function findFailure(
  execution: Execution,
  memory: Memory,
  races: DataRaces | undefined,
  check: () => void,
): Finding | undefined {
  const { board } = execution;
  if (races !== undefined && board.words[Word.PlainAccesses] > 0) {
    const conflict = races.find(execution);
    if (conflict !== undefined) return describeConflict(execution, memory, conflict);
  }
  switch (execution.outcome) {
    case Outcome.Threw: {
      const thrown = JSON.parse(execution.failureText()) as Thrown;
      const thread = threadName(board.words[Word.FailedThread]);
      return { kind: "assertion", message: `thread ${thread} threw ${thrown.message}\n${thrown.stack}`.trimEnd() };
    }
    case Outcome.Deadlock:
      return describeDeadlock(execution, memory);
    case Outcome.StepLimit: {
      const message = `still going after ${execution.steps} steps (if threads spin on purpose, call hal.relax or Atomics.pause in the loop)`;
      return { kind: "livelock", message };
    }
    case Outcome.Done:
      return runCheck(check);
    default:
      return undefined;
  }
}

function runCheck(check: () => void): Finding | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return { kind: "check", message: `the final state is wrong: ${message}` };
  }
}

function describeConflict(execution: Execution, memory: Memory, conflict: AccessConflict): Finding {
  const { first, second, at, kind } = conflict;
  const one = (entry: number): string => {
    const plain = execution.operation(entry) === Operation.Read || execution.operation(entry) === Operation.Write;
    const name = `${plain ? "plain " : ""}${operationName(execution.operation(entry))}`;
    return `${name} by ${threadName(execution.thread(entry))} in step ${execution.log(entry, 3) + 1}`;
  };
  const place = memory.describe(at, 4);
  const message =
    kind === "data-race"
      ? `data race on ${place}: ${one(first)} and ${one(second)} are not ordered`
      : `freed memory at ${place}: ${one(second)}, after or unordered with ${one(first)}`;
  return { kind, message };
}

function describeDeadlock(execution: Execution, memory: Memory): Finding {
  const stuck = JSON.parse(execution.failureText()) as Stuck[];
  let kind: FailureKind = "deadlock";
  const lines = stuck.map(({ thread, status, waits }) => {
    const places = waits.map((wait) => memory.describe(wait.at, 4)).join(", ");
    if (status === Status.Relaxed) return `${threadName(thread)} spins`;
    if (waits.length === 0) return `${threadName(thread)} awaits something that is not a modelled wait`;
    const slept = waits.some((wait) => wakeupWasLost(execution, thread, wait.at));
    if (slept) kind = "lost-wakeup";
    return `${threadName(thread)} waits on ${places}${slept ? ", which was notified too early or changed without a notification" : ""}`;
  });
  return { kind, message: `no thread can go on: ${lines.join("; ")}` };
}

/** The word changed after the thread began to wait for that, or the notification came before. */
function wakeupWasLost(execution: Execution, thread: number, at: number): boolean {
  let early = false;
  let waiting = false;
  let changed = false;
  for (let entry = 0; entry < execution.logLength; entry++) {
    const same = execution.log(entry, 1) === at;
    if (!same) continue;
    const operation = execution.operation(entry);
    if (operation === Operation.Wait && execution.thread(entry) === thread) {
      waiting = true;
      changed = false;
    } else if (operation === Operation.Notify && execution.thread(entry) !== thread && !waiting) {
      early = true;
    } else if (waiting && (execution.flags(entry) & Flag.Changed) !== 0) {
      changed = true;
    }
  }
  return early || changed;
}
