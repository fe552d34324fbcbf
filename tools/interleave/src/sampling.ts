import { MAX_CHANGE_POINTS, Outcome, Tail } from "./board.ts";
import { xorshift } from "./choose-tail.ts";
import { InterleaveError } from "./errors.ts";
import { Exhaustive } from "./exhaustive.ts";
import type { Execution, Plan } from "./execution.ts";
import { parseSchedule } from "./schedule.ts";
import type { PctOptions, RandomOptions, ReplayOptions, Strategy, StrategyOptions } from "./strategy.ts";

const NO_PREFIX = new Uint8Array(0);
const DEFAULT_EXECUTIONS = 1000;

/** Spreads consecutive seeds apart. */
function seedOf(seed: number, index: number): number {
  return xorshift(xorshift(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)));
}

/** {@link RandomOptions}. */
export class RandomWalk implements Strategy {
  readonly name: string;
  readonly exhausted = false;
  readonly #seed: number;
  #left: number;

  constructor(options: RandomOptions) {
    const { seed = 1, executions = DEFAULT_EXECUTIONS } = options;
    this.name = `random walk, seed ${seed}`;
    this.#seed = seed;
    this.#left = executions;
  }

  next(): Plan | undefined {
    if (this.#left <= 0) return undefined;
    return { prefix: NO_PREFIX, length: 0, sleep: 0, tail: Tail.Random, seed: seedOf(this.#seed, this.#left) };
  }

  observe(_execution: Execution): void {
    this.#left--;
  }
}

/** {@link PctOptions}. */
export class Pct implements Strategy {
  readonly name: string;
  readonly exhausted = false;
  readonly #threads: number;
  readonly #depth: number;
  readonly #seed: number;
  #left: number;
  /** Longest execution seen: change points are drawn from its steps. */
  #steps = 1;

  constructor(threads: number, options: PctOptions) {
    const { seed = 1, executions = DEFAULT_EXECUTIONS, depth = 3 } = options;
    if (!Number.isInteger(depth) || depth < 1 || depth > MAX_CHANGE_POINTS) {
      throw new InterleaveError(
        "INTERLEAVE_INVALID_ARGUMENT",
        `depth is ${depth}; 1 to ${MAX_CHANGE_POINTS} are possible`,
      );
    }
    this.name = `PCT, depth ${depth}, seed ${seed}`;
    this.#threads = threads;
    this.#depth = depth;
    this.#seed = seed;
    this.#left = executions;
  }

  next(): Plan | undefined {
    if (this.#left <= 0) return undefined;
    let state = seedOf(this.#seed, this.#left);
    const below = (limit: number): number => {
      state = xorshift(state);
      return (state >>> 0) % limit;
    };
    const priorities = Array.from({ length: this.#threads }, (_, thread) => thread + 1);
    for (let last = priorities.length - 1; last > 0; last--) {
      const other = below(last + 1);
      [priorities[last], priorities[other]] = [priorities[other], priorities[last]];
    }
    const changePoints = Array.from({ length: this.#depth - 1 }, () => 1 + below(this.#steps));
    return { prefix: NO_PREFIX, length: 0, sleep: 0, tail: Tail.Priority, priorities, changePoints };
  }

  observe(execution: Execution): void {
    this.#left--;
    this.#steps = Math.max(this.#steps, execution.steps);
  }
}

/** {@link ReplayOptions}. */
export class Replay implements Strategy {
  readonly name: string;
  readonly exhausted = false;
  readonly #prefix: Uint8Array;
  #ran = false;

  constructor(options: ReplayOptions) {
    this.name = `replay of ${options.schedule}`;
    this.#prefix = Uint8Array.from(parseSchedule(options.schedule));
  }

  next(): Plan | undefined {
    return this.#ran ? undefined : { prefix: this.#prefix, length: this.#prefix.length, sleep: 0, tail: Tail.Stay };
  }

  observe(execution: Execution): void {
    this.#ran = true;
    if (execution.outcome === Outcome.Infeasible) {
      throw new InterleaveError(
        "INTERLEAVE_INVALID_SCHEDULE",
        `the schedule does not fit the scenario: after ${execution.steps} steps it names a thread that cannot go on`,
      );
    }
  }
}

/** The strategy that `options` describe. */
export function createStrategy(options: StrategyOptions, threads: number, stepLimit: number): Strategy {
  switch (options.kind) {
    case "exhaustive":
      return new Exhaustive(threads, stepLimit, options);
    case "random":
      return new RandomWalk(options);
    case "pct":
      return new Pct(threads, options);
    default:
      return new Replay(options);
  }
}
