import { type Board, Outcome, State, Word } from "./board.ts";
import { InterleaveError } from "./errors.ts";
import { Execution, type Plan } from "./execution.ts";
import { Flag } from "./operation.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Snapshot } from "./memory.ts";
import type { ThreadRunner } from "./thread-runner.ts";
import { awaitTurn, giveTurn } from "./turn.ts";

/** Runs executions, one plan each. Lives in the thread that is also thread 0 of the scenario, which saves hand-overs. */
export class Executor {
  readonly #board: Board;
  readonly #scheduler: Scheduler;
  readonly #runner: ThreadRunner;
  readonly #snapshot: Snapshot;
  /** What the steps of the last execution did: the same prefix must do the same. */
  #signature = new Float64Array(64);
  #signed = 0;

  constructor(scheduler: Scheduler, runner: ThreadRunner, snapshot: Snapshot) {
    this.#board = scheduler.board;
    this.#scheduler = scheduler;
    this.#runner = runner;
    this.#snapshot = snapshot;
  }

  /** One execution from the initial memory. A promise only if thread 0 is asynchronous. */
  run(plan: Plan, tracing: boolean): Execution | Promise<Execution> {
    this.#prepare(plan, tracing);
    const board = this.#board;
    const first = this.#scheduler.choose();
    if (first < 0) return this.#finished(plan);
    if (first !== 0) {
      giveTurn(board, first);
      awaitTurn(board, 0);
      if (board.words[Word.Over] !== 0) return this.#finished(plan);
    }
    const running = this.#runner.run();
    if (running === undefined) return this.#await(plan);
    return running.then(() => this.#await(plan));
  }

  #await(plan: Plan): Execution {
    if (!this.#runner.wasLast) awaitTurn(this.#board, 0);
    return this.#finished(plan);
  }

  #prepare(plan: Plan, tracing: boolean): void {
    const board = this.#board;
    this.#snapshot.restore();
    board.reset();
    board.words[Word.Progress]++;
    board.words[Word.PrefixLength] = plan.length;
    board.words[Word.UseSleep] = plan.sleep;
    board.words[Word.Tail] = plan.tail;
    board.words[Word.RandomState] = plan.seed ?? 1;
    board.words[Word.Tracing] = tracing ? 1 : 0;
    for (let step = 0; step < plan.length; step++) board.prefix[step] = plan.prefix[step];
    plan.priorities?.forEach((priority, thread) => board.setState(thread, State.Priority, priority));
    plan.changePoints?.forEach((point, index) => (board.changePoints[index] = point));
    board.words[Word.ChangePoints] = plan.changePoints?.length ?? 0;
  }

  #finished(plan: Plan): Execution {
    const execution = new Execution(this.#board);
    if (plan.known !== undefined) this.#compare(execution, plan.known);
    this.#sign(execution);
    return execution;
  }

  #sign(execution: Execution): void {
    this.#signed = 0;
    this.#forEachStep(execution, (step, signature) => {
      if (step >= this.#signature.length) {
        const larger = new Float64Array(this.#signature.length * 2);
        larger.set(this.#signature);
        this.#signature = larger;
      }
      this.#signature[step] = signature;
      this.#signed = step + 1;
    });
  }

  /** Throws unless the first `steps` steps did what they did last time. */
  #compare(execution: Execution, steps: number): void {
    let wrong = execution.outcome === Outcome.Infeasible ? execution.steps : -1;
    this.#forEachStep(execution, (step, signature) => {
      if (wrong < 0 && step < steps && step < this.#signed && this.#signature[step] !== signature) wrong = step;
    });
    if (wrong < 0) return;
    throw new InterleaveError(
      "INTERLEAVE_NONDETERMINISTIC",
      `the scenario is not deterministic: step ${wrong + 1} differs between two executions of the same schedule`,
    );
  }

  #forEachStep(execution: Execution, visit: (step: number, signature: number) => void): void {
    for (let entry = 0; entry < execution.logLength; entry++) {
      if ((execution.flags(entry) & Flag.Step) === 0) continue;
      visit(execution.log(entry, 3), (execution.log(entry, 0) & 0xffff) * 2 ** 32 + execution.log(entry, 1));
    }
  }
}
