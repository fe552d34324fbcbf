import { relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { Board, MAX_THREADS, Word } from "./board.ts";
import { InterleaveError, type InterleaveErrorCode, InterleavingFailure } from "./errors.ts";
import type { FromWorker, Settings, ToExplorer, WorkerStart } from "./protocol.ts";
import type { Report } from "./report.ts";
import { formatSchedule, parseSchedule } from "./schedule.ts";
import type { StrategyOptions } from "./strategy.ts";

/** Workers are plain JavaScript: from the sources as from the build, the entry is the built one. */
const WORKER = new URL("../dist/worker.js", import.meta.url);
const BIN = fileURLToPath(new URL("../bin/interleave.js", import.meta.url));
const WATCH_MS = 500;

/**
 * Options of {@link explore} and {@link search}.
 *
 * @public
 */
export interface ExploreOptions {
  /** Which export of the module is the scenario. Default `"default"`. */
  readonly scenario?: string | undefined;
  /** Default: exhaustive, without a bound. */
  readonly strategy?: StrategyOptions | undefined;
  /** An execution of more steps is a livelock. Default 2000, at most 100000. */
  readonly stepLimit?: number | undefined;
  /** After so many turns of waiting threads in which nothing changes, it is a deadlock. Default 100. */
  readonly idleLimit?: number | undefined;
  /**
   * `"ignore"`: data races and uses of freed memory are not looked for; instead plain accesses are steps too, everywhere.
   * Default `"fail"`.
   */
  readonly races?: "fail" | "ignore" | undefined;
  /**
   * When a wait with a time-out times out: `"idle"`, when nobody else can go on; `"never"`, so that a lost wake-up shows
   * although a time-out would have healed it. Default `"idle"`.
   */
  readonly timeouts?: "idle" | "never" | undefined;
  /**
   * What `hal.relax` and `Atomics.pause` do: `"yields"`, until another thread changes something that was read; `"returns"`,
   * nothing, for code that spins a few times and then gives up. Default `"yields"`.
   */
  readonly relax?: "yields" | "returns" | undefined;
  /** Do not stop at a failure: count it as an outcome, and explain the first one in the end. Default false. */
  readonly keepGoing?: boolean | undefined;
  /** Default 1 000 000. */
  readonly maxExecutions?: number | undefined;
  /** Stop after this time, in milliseconds. Default: never. */
  readonly maxMs?: number | undefined;
  /** A thread that makes no step for this long hangs, in milliseconds. Default 10 000. */
  readonly hangMs?: number | undefined;
}

/**
 * Explores the interleavings of a scenario and throws {@link InterleavingFailure} if one of them fails. For tests: the
 * error's message is the schedule, the trace and the replay command.
 *
 * `module` is the URL (or path) of the ES module that exports the scenario. Errors: `INTERLEAVE_INVALID_SCENARIO`,
 * `INTERLEAVE_NONDETERMINISTIC`, `INTERLEAVE_NO_PROGRESS`, `INTERLEAVE_THREAD_DIED`.
 *
 * @public
 */
export async function explore(module: URL | string, options: ExploreOptions = {}): Promise<Report> {
  const report = await search(module, options);
  if (report.failure !== undefined) throw new InterleavingFailure(report.failure, report);
  return report;
}

/**
 * Like {@link explore}, but a failure is part of the report.
 *
 * @public
 */
export async function search(module: URL | string, options: ExploreOptions = {}): Promise<Report> {
  const url = typeof module === "string" && !module.startsWith("file:") ? pathToFileURL(module) : new URL(module);
  const session = new Session(url, options);
  try {
    return await session.run();
  } finally {
    await session.close();
  }
}

/** The workers of one exploration. */
class Session {
  readonly #url: URL;
  readonly #exportName: string;
  readonly #settings: Settings;
  readonly #hangMs: number;
  readonly #workers: Worker[] = [];
  #reject: (error: Error) => void = () => undefined;
  #waitingFor = 0;
  #watch: NodeJS.Timeout | undefined;
  #closing = false;

  constructor(url: URL, options: ExploreOptions) {
    this.#url = url;
    this.#exportName = options.scenario ?? "default";
    this.#settings = settingsOf(url, this.#exportName, options);
    this.#hangMs = options.hangMs ?? 10_000;
  }

  run(): Promise<Report> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      const explorer = this.#start(0, undefined);
      explorer.on("message", (message: FromWorker) => {
        if (message.kind === "report") resolve(message.report);
        else if (message.kind === "set-up") this.#join(explorer, message);
      });
    });
  }

  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#watch);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** Thread 0 made the shared memory: give it a board, and the other threads both. */
  #join(explorer: Worker, message: Extract<FromWorker, { kind: "set-up" }>): void {
    const { threads, pages, shared, racy } = message;
    if (threads > MAX_THREADS) {
      const text = `${threads} threads; at most ${MAX_THREADS} are possible`;
      this.#reject(new InterleaveError("INTERLEAVE_INVALID_SCENARIO", text));
      return;
    }
    const board = Board.create(threads, this.#settings.stepLimit, pages);
    this.#waitingFor = threads;
    send(explorer, { kind: "board", board: board.handle });
    for (let thread = 1; thread < threads; thread++) this.#start(thread, { board: board.handle, shared, racy });
    this.#watchProgress(board);
  }

  #start(thread: number, joined: WorkerStart["joined"]): Worker {
    const start: WorkerStart = {
      thread,
      module: this.#url.href,
      exportName: this.#exportName,
      settings: this.#settings,
      ...(joined === undefined ? {} : { joined }),
    };
    const worker = new Worker(WORKER, { workerData: start, execArgv: [], name: `interleave ${thread}` });
    this.#workers.push(worker);
    const died = (how: string, cause?: Error): void =>
      this.#reject(new InterleaveError("INTERLEAVE_THREAD_DIED", `thread ${thread} ${how}`, { cause }));
    worker.on("error", (cause) => died(`died: ${cause.message}`, cause));
    worker.on("exit", (code) => {
      if (!this.#closing) died(`exited with code ${code}`);
    });
    worker.on("message", (message: FromWorker) => {
      if (message.kind === "error") {
        this.#reject(new InterleaveError(message.code as InterleaveErrorCode, message.message));
      } else if (message.kind === "ready" && --this.#waitingFor === 0) {
        send(this.#workers[0], { kind: "go" });
      }
    });
    return worker;
  }

  /** A thread that computes for ever without a shared access cannot be interrupted from outside: say so and give up. */
  #watchProgress(board: Board): void {
    let seen = -1;
    let since = performance.now();
    this.#watch = setInterval(() => {
      const progress = board.words[Word.Progress] * 65536 + board.words[Word.LogLength];
      if (progress !== seen) {
        seen = progress;
        since = performance.now();
      } else if (performance.now() - since > this.#hangMs) {
        const schedule = formatSchedule(Array.from(board.chosen.subarray(0, board.words[Word.Steps])));
        const message = `no shared access for ${this.#hangMs} ms; the schedule so far is ${schedule}`;
        this.#reject(new InterleaveError("INTERLEAVE_NO_PROGRESS", message));
      }
    }, WATCH_MS);
    this.#watch.unref();
  }
}

function send(worker: Worker, message: ToExplorer): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
  worker.postMessage(message);
}

function settingsOf(url: URL, exportName: string, options: ExploreOptions): Settings {
  const { strategy = { kind: "exhaustive" }, stepLimit = 2000, idleLimit = 100 } = options;
  const { races = "fail", timeouts = "idle", relax = "yields" } = options;
  if (!Number.isInteger(stepLimit) || stepLimit < 1 || stepLimit > 100_000) {
    throw new InterleaveError("INTERLEAVE_INVALID_ARGUMENT", `stepLimit is ${stepLimit}; 1 to 100000 are possible`);
  }
  if (strategy.kind === "replay") parseSchedule(strategy.schedule);
  const flags = [
    stepLimit === 2000 ? "" : ` --step-limit ${stepLimit}`,
    idleLimit === 100 ? "" : ` --idle-limit ${idleLimit}`,
    races === "fail" ? "" : " --ignore-races",
    timeouts === "idle" ? "" : " --no-timeouts",
    relax === "yields" ? "" : " --relax-returns",
  ];
  return {
    strategy,
    stepLimit,
    idleLimit,
    races,
    timeouts,
    relax,
    keepGoing: options.keepGoing ?? false,
    maxExecutions: options.maxExecutions ?? 1_000_000,
    maxMs: options.maxMs ?? Infinity,
    replayCommand: `${command()} ${quoted(target(url, exportName))}${flags.join("")}`,
  };
}

/** How this tool is called from the current folder. */
function command(): string {
  return BIN.includes("/node_modules/") ? "npx interleave" : `node ${quoted(relative(process.cwd(), BIN))}`;
}

function target(url: URL, exportName: string): string {
  const path = relative(process.cwd(), fileURLToPath(url));
  return exportName === "default" ? path : `${path}#${exportName}`;
}

function quoted(text: string): string {
  return /^[\w./#@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
