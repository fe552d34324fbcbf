import { Outcome, Tail, Word } from "./board.ts";
import { DataRaces } from "./data-race.ts";
import { InterleaveError } from "./errors.ts";
import type { Execution, Plan } from "./execution.ts";
import { Executor } from "./executor.ts";
import { findFailure, type Finding } from "./failure.ts";
import { Snapshot } from "./memory.ts";
import { minimize, type Attempt } from "./minimize.ts";
import type { Settings } from "./protocol.ts";
import type { Recorder } from "./recorder.ts";
import type { Failure, Report } from "./report.ts";
import { createStrategy } from "./sampling.ts";
import type { Scenario } from "./scenario.ts";
import { formatSchedule } from "./schedule.ts";
import type { Strategy } from "./strategy.ts";
import { checkContext } from "./thread-context.ts";
import type { ThreadRunner } from "./thread-runner.ts";
import { formatFailure, readTrace } from "./trace.ts";

/** Bounds the memory that counting needs. */
const MAX_FINAL_STATES = 1_000_000;
const MAX_OUTCOMES = 10_000;

/** Runs a strategy to its end or to the first failure, and says what it saw. */
export class Explorer {
  readonly #recorder: Recorder;
  readonly #scenario: Scenario;
  readonly #shared: unknown;
  readonly #settings: Settings;
  readonly #name: string;
  readonly #executor: Executor;
  readonly #snapshot: Snapshot;
  readonly #races: DataRaces | undefined;
  readonly #states = new Set<string>();
  readonly #outcomes = new Map<string, number>();
  #stateHash = 0;
  #executions = 0;
  #redundant = 0;
  #longest = 0;
  #yields = 0;

  constructor(
    recorder: Recorder,
    runner: ThreadRunner,
    scenario: Scenario,
    shared: unknown,
    settings: Settings,
    name: string,
  ) {
    this.#recorder = recorder;
    this.#scenario = scenario;
    this.#shared = shared;
    this.#settings = settings;
    this.#name = scenario.name ?? name;
    this.#snapshot = new Snapshot(recorder.memory, recorder.board.dirty);
    this.#executor = new Executor(recorder.scheduler, runner, this.#snapshot);
    this.#races = settings.races === "fail" ? new DataRaces(recorder.board.threads) : undefined;
    const { words } = recorder.board;
    words[Word.StepLimit] = settings.stepLimit;
    words[Word.IdleLimit] = settings.idleLimit;
    words[Word.NoTimeouts] = settings.timeouts === "never" ? 1 : 0;
    words[Word.RelaxReturns] = settings.relax === "returns" ? 1 : 0;
  }

  async explore(): Promise<Report> {
    const { threads } = this.#recorder.board;
    const strategy = createStrategy(this.#settings.strategy, threads, this.#settings.stepLimit);
    const began = Date.now();
    let first: { finding: Finding; schedule: number[]; preemptions: number } | undefined;
    while (this.#executions < this.#settings.maxExecutions && Date.now() - began < this.#settings.maxMs) {
      const plan = strategy.next();
      if (plan === undefined) break;
      const execution = await this.#run(plan, false);
      const finding = this.#judge(execution);
      this.#count(execution, finding);
      strategy.observe(execution);
      if (finding === undefined) continue;
      first ??= { finding, schedule: execution.schedule(), preemptions: execution.preemptions };
      if (!this.#settings.keepGoing) break;
    }
    const failure = first === undefined ? undefined : await this.#explain(first, first.finding);
    return this.#report(strategy, failure, Date.now() - began);
  }

  /** Runs a plan without leaving the turn of the event loop, unless the scenario is asynchronous. */
  #run(plan: Plan, tracing: boolean): Execution | Promise<Execution> {
    return this.#executor.run(plan, tracing);
  }

  #judge(execution: Execution): Finding | undefined {
    return findFailure(execution, this.#recorder.memory, this.#races, () => this.#check(execution));
  }

  #check(execution: Execution): void {
    // Before check() runs, because it may write.
    this.#stateHash = this.#snapshot.hash();
    this.#recorder.watch(() =>
      this.#scenario.check?.(this.#shared, execution.results(), checkContext(execution.threads)),
    );
  }

  #count(execution: Execution, finding: Finding | undefined): void {
    this.#longest = Math.max(this.#longest, execution.steps);
    this.#yields += this.#recorder.board.words[Word.Yields];
    if (execution.outcome === Outcome.Redundant) {
      this.#redundant++;
      return;
    }
    this.#executions++;
    if (finding !== undefined) this.#seen(`failed: ${finding.kind}`);
    if (finding !== undefined || execution.outcome !== Outcome.Done) return;
    const results = execution.results();
    const text = JSON.stringify(results);
    if (this.#states.size < MAX_FINAL_STATES) this.#states.add(`${this.#stateHash} ${text}`);
    let outcome = text;
    this.#recorder.watch(() => {
      outcome = this.#scenario.outcome?.(this.#shared, results) ?? text;
    });
    this.#seen(outcome);
  }

  #seen(outcome: string): void {
    if (this.#outcomes.size < MAX_OUTCOMES || this.#outcomes.has(outcome)) {
      this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    }
  }

  /** The shortest schedule that fails in the same way, with its trace. */
  async #explain(found: Attempt, finding: Finding): Promise<Failure> {
    const fixed = this.#settings.strategy.kind === "replay" ? found.schedule : undefined;
    const { prefix } =
      fixed === undefined
        ? await minimize(found, async (candidate) => {
            const result = await this.#run(follow(candidate), false);
            if (this.#judge(result)?.kind !== finding.kind) return undefined;
            return { schedule: result.schedule(), preemptions: result.preemptions };
          })
        : { prefix: fixed };
    const traced = await this.#run(follow(prefix), true);
    const again = this.#judge(traced);
    if (again?.kind !== finding.kind) {
      throw new InterleaveError(
        "INTERLEAVE_NONDETERMINISTIC",
        `the schedule ${formatSchedule(prefix)} failed once (${finding.kind}) and then did not`,
      );
    }
    const given = this.#settings.strategy.kind === "replay" ? this.#settings.strategy.schedule : formatSchedule(prefix);
    return formatFailure({
      scenario: this.#name,
      finding: again,
      schedule: given,
      preemptions: traced.preemptions,
      trace: readTrace(traced),
      replayCommand: this.#settings.replayCommand,
    });
  }

  #report(strategy: Strategy, failure: Failure | undefined, elapsedMs: number): Report {
    const options = this.#settings.strategy;
    const all = this.#executions + this.#redundant;
    return {
      scenario: this.#name,
      strategy: strategy.name,
      threads: this.#recorder.board.threads,
      executions: this.#executions,
      redundant: this.#redundant,
      longestSteps: this.#longest,
      finalStates: this.#states.size,
      outcomes: Object.fromEntries(this.#outcomes),
      preemptionBound: options.kind === "exhaustive" ? options.preemptionBound : undefined,
      exhausted: strategy.exhausted && (failure === undefined || this.#settings.keepGoing),
      yields: this.#yields,
      elapsedMs,
      executionsPerSecond: Math.round((all * 1000) / Math.max(elapsedMs, 1)),
      failure,
    };
  }
}

function follow(schedule: readonly number[]): Plan {
  return { prefix: Uint8Array.from(schedule), length: schedule.length, sleep: 0, tail: Tail.Stay };
}
