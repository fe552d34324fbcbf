import { type Board, State, Status, WaiterState, Waiter, Word } from "./board.ts";
import type { AsyncWaits } from "./instrument-atomics.ts";
import { Flag, Operation } from "./operation.ts";
import type { Recorder } from "./recorder.ts";
import type { ThreadContext } from "./scenario.ts";
import { xorshift } from "./choose-tail.ts";
import { type Scheduler, UNWIND } from "./scheduler.ts";
import { ownFramesRemoved } from "./source-line.ts";
import { threadContext } from "./thread-context.ts";

/** What a thread that threw leaves on the board. */
export interface Thrown {
  readonly message: string;
  readonly stack: string;
}

type Body = (shared: unknown, context: ThreadContext) => unknown;

/** Promises of `waitAsync` of one thread. */
export class PendingWaits implements AsyncWaits {
  #board!: Board;
  #resolvers = new Map<number, (result: string) => void>();

  attach(board: Board): void {
    this.#board = board;
  }

  add(slot: number): Promise<string> {
    return new Promise((resolve) => this.#resolvers.set(slot, resolve));
  }

  clear(): void {
    this.#resolvers = new Map();
  }

  /** Resolve what has ended. */
  settle(): void {
    for (const [slot, resolve] of this.#resolvers) {
      const state = this.#board.waiter(slot, Waiter.State);
      if (state < WaiterState.Notified) continue;
      this.#board.setWaiter(slot, Waiter.State, WaiterState.Free);
      this.#resolvers.delete(slot);
      resolve(state === WaiterState.Notified ? "ok" : "timed-out");
    }
  }
}

/** Runs one thread function, execution after execution. */
export class ThreadRunner {
  /** Whether the last execution was over when this thread ended. */
  wasLast = false;
  readonly #recorder: Recorder;
  readonly #scheduler: Scheduler;
  readonly #board: Board;
  readonly #body: Body;
  readonly #shared: unknown;
  readonly #context: ThreadContext;
  readonly #waits: PendingWaits;

  constructor(recorder: Recorder, body: Body, shared: unknown, waits: PendingWaits) {
    this.#recorder = recorder;
    this.#scheduler = recorder.scheduler;
    this.#board = recorder.board;
    this.#body = body;
    this.#shared = shared;
    this.#waits = waits;
    this.#context = threadContext(recorder, recorder.board.threads);
  }

  /** One execution of the thread, from its first turn to its end; a promise only if the function returns one. */
  run(): void | Promise<void> {
    this.#begin();
    const body = this.#body;
    let result: unknown;
    try {
      result = body(this.#shared, this.#context);
    } catch (error) {
      this.#threw(error);
    }
    if (isThenable(result)) return this.#drive(result);
    this.#end(result);
  }

  #begin(): void {
    const { board } = this.#recorder;
    this.#recorder.reset();
    this.#waits.clear();
    seedRandom(this.#scheduler.thread);
    board.setState(this.#scheduler.thread, State.Status, Status.Ready);
    this.#recorder.active = true;
    this.#scheduler.append(Operation.Start, 0, 0, Flag.Step);
  }

  #end(result: unknown): void {
    const board = this.#board;
    if (result !== undefined && board.words[Word.Aborting] === 0) {
      const text = JSON.stringify(result, (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value));
      board.setState(this.#scheduler.thread, State.ResultStart, board.appendText(text));
      board.setState(this.#scheduler.thread, State.ResultLength, board.words[Word.TextLength]);
    }
    this.#recorder.active = false;
    this.wasLast = this.#scheduler.finish();
  }

  /**
   * An asynchronous function goes on in microtasks. When they are drained and it is not settled, it is blocked on its
   * `waitAsync` promises: the scheduler says when one has ended.
   */
  async #drive(promise: PromiseLike<unknown>): Promise<void> {
    let settled = false;
    let result: unknown;
    promise.then(
      (value) => {
        result = value;
        settled = true;
      },
      (error: unknown) => {
        this.#threw(error);
        settled = true;
      },
    );
    for (;;) {
      await microtasksDrained();
      if (settled || !this.#scheduler.announceAsyncIdle()) break;
      this.#scheduler.resumed(Status.AsyncIdle);
      this.#recorder.traceResume("waitAsync ended");
      this.#waits.settle();
    }
    this.#end(result);
  }

  #threw(error: unknown): void {
    const board = this.#board;
    if (error === UNWIND || board.words[Word.Aborting] !== 0) return;
    const thrown: Thrown =
      error instanceof Error
        ? { message: `${error.name}: ${error.message}`, stack: ownFramesRemoved(error.stack ?? "") }
        : { message: String(error), stack: "" };
    board.words[Word.FailedThread] = this.#scheduler.thread;
    board.words[Word.FailureStart] = board.appendText(JSON.stringify(thrown));
    board.words[Word.FailureLength] = board.words[Word.TextLength] - board.words[Word.FailureStart];
    this.#recorder.fail();
  }
}

function microtasksDrained(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** Randomness of the code under test: the same in every execution. */
function seedRandom(thread: number): void {
  let state = thread + 1;
  Math.random = () => {
    state = xorshift(state);
    return (state >>> 0) / 2 ** 32;
  };
}
