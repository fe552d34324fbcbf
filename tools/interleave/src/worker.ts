/*
 * Entry of the worker threads: one per thread of the scenario. Thread 0 also explores.
 */
import { basename } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { Board } from "./board.ts";
import { InterleaveError } from "./errors.ts";
import { Explorer } from "./explorer.ts";
import { installInstrumentation, instrumentShared } from "./install.ts";
import { Memory } from "./memory.ts";
import type { FromWorker, Joined, ToExplorer, WorkerStart } from "./protocol.ts";
import { type RacyRange, Recorder } from "./recorder.ts";
import type { Scenario } from "./scenario.ts";
import { Scheduler } from "./scheduler.ts";
import { checkContext } from "./thread-context.ts";
import { PendingWaits, ThreadRunner } from "./thread-runner.ts";
import { awaitTurn } from "./turn.ts";

const port = parentPort!;
const start = workerData as WorkerStart;
const recorder = new Recorder();
const waits = new PendingWaits();

process.setSourceMapsEnabled(true);
installInstrumentation(recorder, waits);

function post(message: FromWorker): void {
  port.postMessage(message);
}

async function loadScenario(): Promise<Scenario> {
  const module = (await import(start.module)) as Record<string, unknown>;
  const scenario = module[start.exportName] as Partial<Scenario> | undefined;
  if (typeof scenario?.setup !== "function" || !Array.isArray(scenario.threads) || scenario.threads.length === 0) {
    const message = `${start.module} exports no scenario "${start.exportName}" with setup() and threads`;
    throw new InterleaveError("INTERLEAVE_INVALID_SCENARIO", message);
  }
  return scenario as Scenario;
}

function join(joined: Joined, memory: Memory, scenario: Scenario): ThreadRunner {
  const board = new Board(joined.board);
  recorder.attach(memory, new Scheduler(board, start.thread), joined.racy);
  waits.attach(board);
  recorder.active = true;
  const shared = instrumentShared(recorder, joined.shared);
  recorder.active = false;
  return new ThreadRunner(recorder, scenario.threads[start.thread], shared, waits);
}

/** A thread other than 0: run whenever it is its turn to begin. */
async function serve(joined: Joined): Promise<void> {
  const runner = join(joined, new Memory(joined.shared), await loadScenario());
  const { board } = recorder;
  post({ kind: "ready" });
  for (;;) {
    awaitTurn(board, start.thread);
    const running = runner.run();
    if (running !== undefined) await running;
  }
}

async function explore(): Promise<void> {
  const scenario = await loadScenario();
  const context = checkContext(scenario.threads.length);
  const shared = await scenario.setup(context);
  const memory = new Memory(shared);
  if (memory.regions.length === 0) {
    throw new InterleaveError("INTERLEAVE_INVALID_SCENARIO", "setup() returned no SharedArrayBuffer");
  }
  const racy = racyRanges(scenario, shared, memory);
  const received = receive("board");
  post({ kind: "set-up", threads: scenario.threads.length, pages: memory.pages, shared, racy });
  const message = (await received) as Extract<ToExplorer, { kind: "board" }>;
  const runner = join({ board: message.board, shared, racy }, memory, scenario);
  post({ kind: "ready" });
  await receive("go");
  const explorer = new Explorer(recorder, runner, scenario, shared, start.settings, defaultName());
  post({ kind: "report", report: await explorer.explore() });
}

/** Of a scenario that has no name: the export's, or the file's. */
function defaultName(): string {
  return start.exportName === "default" ? basename(new URL(start.module).pathname, ".mjs") : start.exportName;
}

function receive(kind: ToExplorer["kind"]): Promise<ToExplorer> {
  return new Promise((resolve) => {
    const listener = (message: ToExplorer): void => {
      if (message.kind !== kind) return;
      port.off("message", listener);
      resolve(message);
    };
    port.on("message", listener);
  });
}

function racyRanges(scenario: Scenario, shared: unknown, memory: Memory): RacyRange[] {
  if (start.settings.races === "ignore") return [{ from: 0, to: memory.bytes }];
  const ranges: RacyRange[] = [];
  for (const { buffer, byteOffset = 0, byteLength = buffer.byteLength - byteOffset } of scenario.racy?.(shared) ?? []) {
    const region = memory.region(buffer);
    if (region === undefined) {
      throw new InterleaveError("INTERLEAVE_INVALID_SCENARIO", "racy() names a buffer that setup() did not return");
    }
    ranges.push({ from: region.base + byteOffset, to: region.base + byteOffset + byteLength });
  }
  return ranges;
}

const running = start.joined === undefined ? explore() : serve(start.joined);
running.catch((error: unknown) => {
  const code = error instanceof InterleaveError ? error.code : "INTERLEAVE_INVALID_SCENARIO";
  const message = error instanceof InterleaveError ? error.message : String((error as Error).stack ?? error);
  post({ kind: "error", code, message });
});
