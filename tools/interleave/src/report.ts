/**
 * What kind of thing went wrong.
 *
 * - `assertion`: a thread threw.
 * - `check`: the final state is wrong.
 * - `deadlock`: no thread can go on.
 * - `lost-wakeup`: a deadlock in which a thread sleeps through what it waits for.
 * - `livelock`: more steps than the limit.
 * - `data-race`: unordered conflicting accesses of which one is plain.
 * - `use-after-free`: an access to freed memory, or one that nothing orders before the free.
 *
 * @public
 */
export type FailureKind =
  "assertion" | "check" | "deadlock" | "lost-wakeup" | "livelock" | "data-race" | "use-after-free";

/**
 * A step of a failing execution, or a plain access between two steps.
 *
 * @public
 */
export interface TraceLine {
  /** Number of the step, from 1. */
  readonly step: number;
  /** Thread: 0 is A. */
  readonly thread: number;
  /** Operation, place and value: `load(words[0]) → 1`. */
  readonly operation: string;
  /** Source line, innermost first. */
  readonly where: string;
}

/**
 * A failing execution.
 *
 * @public
 */
export interface Failure {
  readonly kind: FailureKind;
  readonly message: string;
  /** Shortest schedule found: `A4B3A`. */
  readonly schedule: string;
  /** Switches away from a thread that could go on. */
  readonly preemptions: number;
  readonly trace: readonly TraceLine[];
  /** Command that replays it. */
  readonly replay: string;
  /** All of this, for people. */
  readonly text: string;
}

/**
 * What an exploration covered, and what it found.
 *
 * @public
 */
export interface Report {
  readonly scenario: string;
  readonly strategy: string;
  readonly threads: number;
  /** Executions that ran to the end. */
  readonly executions: number;
  /** Executions cut short because equivalent ones had been seen. */
  readonly redundant: number;
  /** Steps of the longest execution. */
  readonly longestSteps: number;
  /** Different contents of the shared memory and results at the end. */
  readonly finalStates: number;
  /** How often each outcome was seen. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Bound on preemptions; undefined: none. */
  readonly preemptionBound: number | undefined;
  /** Every interleaving (within the bound) was covered. */
  readonly exhausted: boolean;
  /** How often a spinning thread had to wait until something it had read changed. 0: no interleaving was left out for it. */
  readonly yields: number;
  readonly elapsedMs: number;
  readonly executionsPerSecond: number;
  readonly failure: Failure | undefined;
}

/**
 * The report as text.
 *
 * @public
 */
export function formatReport(report: Report): string {
  const coverage = report.exhausted
    ? `every interleaving${report.preemptionBound === undefined ? "" : ` of at most ${report.preemptionBound} preemptions`}`
    : "a part of the interleavings";
  const spins =
    report.exhausted && report.yields > 0 ? ["  spinning      threads made their next turn only after a change"] : [];
  const lines = [
    `${report.scenario}: ${report.failure === undefined ? "no failure found" : `FAILED, ${report.failure.kind}`}`,
    `  strategy      ${report.strategy}; covered ${coverage}`,
    ...spins,
    `  executions    ${report.executions} and ${report.redundant} cut short as redundant, longest ${report.longestSteps} steps`,
    `  final states  ${report.finalStates}`,
    `  speed         ${report.executionsPerSecond} executions/s (${report.elapsedMs} ms)`,
  ];
  const outcomes = Object.entries(report.outcomes);
  if (outcomes.length <= 32)
    for (const [outcome, count] of outcomes) lines.push(`  outcome       ${outcome}  ×${count}`);
  if (report.failure !== undefined) lines.push("", report.failure.text);
  return lines.join("\n");
}
