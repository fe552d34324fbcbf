import type { BoardHandle } from "./board.ts";
import type { RacyRange } from "./recorder.ts";
import type { Report } from "./report.ts";
import type { StrategyOptions } from "./strategy.ts";

/** What a worker is started with. */
export interface WorkerStart {
  readonly thread: number;
  readonly module: string;
  readonly exportName: string;
  readonly settings: Settings;
  /** For all threads but 0, which makes it. */
  readonly joined?: Joined;
}

/** What the threads of a scenario share. */
export interface Joined {
  readonly board: BoardHandle;
  readonly shared: unknown;
  readonly racy: readonly RacyRange[];
}

/** The options of an exploration, complete. */
export interface Settings {
  readonly strategy: StrategyOptions;
  readonly stepLimit: number;
  readonly idleLimit: number;
  readonly races: "fail" | "ignore";
  readonly timeouts: "idle" | "never";
  readonly relax: "yields" | "returns";
  readonly keepGoing: boolean;
  readonly maxExecutions: number;
  readonly maxMs: number;
  readonly replayCommand: string;
}

/** From a worker to the main thread. */
export type FromWorker =
  | {
      readonly kind: "set-up";
      readonly threads: number;
      readonly pages: number;
      readonly shared: unknown;
      readonly racy: RacyRange[];
    }
  | { readonly kind: "ready" }
  | { readonly kind: "report"; readonly report: Report }
  | { readonly kind: "error"; readonly code: string; readonly message: string };

/** From the main thread to thread 0. */
export type ToExplorer = { readonly kind: "board"; readonly board: BoardHandle } | { readonly kind: "go" };
