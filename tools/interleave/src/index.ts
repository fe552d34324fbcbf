/**
 * Controls the interleaving of unchanged Atomics code on worker threads, finds the schedule that breaks it, and replays it.
 *
 * @packageDocumentation
 */
export { InterleaveError, InterleavingFailure, type InterleaveErrorCode } from "./errors.ts";
export { explore, search, type ExploreOptions } from "./explore.ts";
export { formatReport, type Failure, type FailureKind, type Report, type TraceLine } from "./report.ts";
export {
  scenario,
  type CheckContext,
  type MemoryRange,
  type Scenario,
  type ScenarioHal,
  type ThreadContext,
  type WaitOutcome,
} from "./scenario.ts";
export type { ExhaustiveOptions, PctOptions, RandomOptions, ReplayOptions, StrategyOptions } from "./strategy.ts";
