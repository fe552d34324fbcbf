import type { Execution, Plan } from "./execution.ts";

/** Decides which executions take place. */
export interface Strategy {
  /** For the report. */
  readonly name: string;
  /** Whether every execution there is (within the bound) was covered. */
  readonly exhausted: boolean;
  /** What to run next; undefined: nothing is left. */
  next(): Plan | undefined;
  /** Told of every execution, before the next plan is asked for. */
  observe(execution: Execution): void;
}

/**
 * Every interleaving, up to equivalence.
 *
 * @public
 */
export interface ExhaustiveOptions {
  readonly kind: "exhaustive";
  /** Only schedules with at most so many preemptions (a switch away from a thread that could go on). Default: all. */
  readonly preemptionBound?: number | undefined;
  /** `"none"` visits every interleaving, even equivalent ones. Default `"dpor"`. */
  readonly reduction?: "dpor" | "none" | undefined;
}

/**
 * At every step any thread that can go on, with equal chance.
 *
 * @public
 */
export interface RandomOptions {
  readonly kind: "random";
  /** Default 1. */
  readonly seed?: number | undefined;
  /** How many. Default 1000. */
  readonly executions?: number | undefined;
}

/**
 * Probabilistic concurrency testing: random priorities, and `depth - 1` random points at which the running thread
 * drops to the lowest.
 *
 * @public
 */
export interface PctOptions {
  readonly kind: "pct";
  /** Default 1. */
  readonly seed?: number | undefined;
  /** How many. Default 1000. */
  readonly executions?: number | undefined;
  /** Number of ordering constraints of the bugs looked for. Default 3. */
  readonly depth?: number | undefined;
}

/**
 * One given schedule, as a failure prints it.
 *
 * @public
 */
export interface ReplayOptions {
  readonly kind: "replay";
  readonly schedule: string;
}

/**
 * How to choose the executions.
 *
 * @public
 */
export type StrategyOptions = ExhaustiveOptions | RandomOptions | PctOptions | ReplayOptions;
