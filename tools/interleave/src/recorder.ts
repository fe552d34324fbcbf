import { type Board, LOG_WORDS, Outcome, PAGE_BYTES, State, Status, Word } from "./board.ts";
import type { Memory, Region, Tracked } from "./memory.ts";
import { Flag, Operation } from "./operation.ts";
import { type Scheduler, UNWIND } from "./scheduler.ts";
import { sourceLine } from "./source-line.ts";

/** Addresses in which plain accesses race on purpose. */
export interface RacyRange {
  readonly from: number;
  readonly to: number;
}

/** A line of the trace, as a thread writes it. */
export interface RawTraceLine {
  readonly entry: number;
  readonly detail: string;
  readonly where: string;
}

/** Where instrumented code reports what it does. One per thread; inactive outside executions. */
export class Recorder {
  memory!: Memory;
  scheduler!: Scheduler;
  board!: Board;
  #racy: readonly RacyRange[] = [];
  #active = false;
  #watching = false;
  #exempt = 0;
  #entry = 0;

  /** Globals are instrumented before the code under test is loaded; what they report to is known only later. */
  attach(memory: Memory, scheduler: Scheduler, racy: readonly RacyRange[]): void {
    this.memory = memory;
    this.scheduler = scheduler;
    this.board = scheduler.board;
    this.#racy = racy;
  }

  get active(): boolean {
    return this.#active;
  }

  set active(active: boolean) {
    this.#active = active;
  }

  /**
   * Run `check`, which may write too (take the last items out of a queue): whatever it makes views of, or has views of,
   * is restored as a whole.
   */
  watch(check: () => void): void {
    for (const region of this.memory.exposed) this.#markRegion(region);
    this.#watching = true;
    try {
      check();
    } finally {
      this.#watching = false;
    }
  }

  /** A view of `buffer` was made. */
  viewed(buffer: ArrayBufferLike): void {
    const region = this.#watching ? this.memory.region(buffer) : undefined;
    if (region !== undefined) this.#markRegion(region);
  }

  #markRegion(region: Region): void {
    const first = region.base / PAGE_BYTES;
    this.board.dirty.fill(1, first, first + Math.ceil(region.buffer.byteLength / PAGE_BYTES));
  }

  /** Before a shared access: returns when it is this thread's turn to perform it. */
  enter(operation: number, at: number, bytes: number): void {
    this.scheduler.step(operation, at, bytes);
  }

  /** After it was performed. */
  leave(operation: number, at: number, bytes: number, flags: number, detail: string | undefined): number {
    this.#entry = this.scheduler.append(operation, at, bytes, flags | Flag.Step | (this.#exempt > 0 ? Flag.Exempt : 0));
    this.scheduler.executed(this.#entry);
    this.trace(detail);
    return this.#entry;
  }

  /** Before a plain access; it is a step only where races are allowed. Returns its flags, or -1: do not record. */
  enterPlain(operation: number, at: number, bytes: number): number {
    if (this.board.words[Word.Aborting] !== 0) return -1;
    const exempt = this.#exempt > 0 ? Flag.Exempt : 0;
    if (!this.#isRacy(at, bytes)) return exempt;
    this.enter(operation, at, bytes);
    return exempt | Flag.Racy | Flag.Step;
  }

  leavePlain(operation: number, at: number, bytes: number, flags: number, detail: string | undefined): void {
    if (flags < 0) return;
    this.board.words[Word.PlainAccesses]++;
    this.#entry = this.scheduler.append(operation, at, bytes, flags);
    this.scheduler.executed(this.#entry);
    this.trace(detail);
  }

  /** `Atomics.wait`. */
  wait(view: Tracked, index: number, matches: () => boolean, timeoutMs: number, detail: string): string {
    const slot = this.joinList(view, index, matches, timeoutMs, detail);
    if (typeof slot === "string") return slot;
    const { scheduler, board } = this;
    board.setState(scheduler.thread, State.Slot, slot);
    scheduler.block(Status.Waiting);
    const result = scheduler.waiters.take(slot) ? "ok" : "timed-out";
    this.traceResume(result);
    return result;
  }

  /** Compares and joins the list of waiters, in one step: the slot of the wait, or how it ended at once. */
  joinList(
    view: Tracked,
    index: number,
    matches: () => boolean,
    timeoutMs: number,
    detail: string,
  ): number | "not-equal" | "timed-out" {
    const at = view.at + index * view.size;
    this.enter(Operation.Wait, at, view.size);
    let slot: number | "not-equal" | "timed-out" = "not-equal";
    if (matches()) {
      const { waiters, thread } = this.scheduler;
      slot = timeoutMs > 0 ? waiters.add(thread, at, timeoutMs !== Infinity) : "timed-out";
    }
    this.leave(Operation.Wait, at, view.size, 0, `${detail} → ${typeof slot === "string" ? slot : "waits"}`);
    return slot;
  }

  notify(view: Tracked, index: number, count: number, detail: string): number {
    const at = view.at + index * view.size;
    this.enter(Operation.Notify, at, view.size);
    const woken = this.scheduler.waiters.notify(at, count, this.board.words[Word.Steps] - 1);
    this.leave(Operation.Notify, at, view.size, 0, `${detail} → ${woken} woken`);
    return woken;
  }

  relax(): void {
    if (this.board.words[Word.Aborting] !== 0) throw UNWIND;
    // It touches nothing shared, so it need not be a step.
    if (this.board.words[Word.RelaxReturns] !== 0) return;
    this.scheduler.relax();
    this.traceResume("relaxed");
  }

  /** Memory that becomes valid or invalid: like a plain write of all of it. */
  lifetime(operation: number, at: number, bytes: number): void {
    if (!this.#active || this.board.words[Word.Aborting] !== 0) return;
    this.leavePlain(operation, at, bytes, 0, this.tracing ? this.memory.describe(at, bytes) : undefined);
  }

  /** Run the allocator's own code: its accesses to freed memory are its business. */
  exempt<T>(run: () => T): T {
    this.#exempt++;
    try {
      return run();
    } finally {
      this.#exempt--;
    }
  }

  get tracing(): boolean {
    return this.board.words[Word.Tracing] !== 0;
  }

  /** Add a line to the trace of the operation recorded last. */
  trace(detail: string | undefined): void {
    if (!this.tracing) return;
    const line: RawTraceLine = { entry: this.#entry / LOG_WORDS, detail: detail ?? "", where: sourceLine() };
    this.board.appendText(`${JSON.stringify(line)}\n`);
  }

  /** Trace the step in which this thread went on after it was blocked. */
  traceResume(detail: string): void {
    this.#entry = this.scheduler.lastResume;
    this.trace(detail);
  }

  /** Make ready for an execution. */
  reset(): void {
    this.#exempt = 0;
  }

  fail(): void {
    this.scheduler.abort(Outcome.Threw);
  }

  #isRacy(at: number, bytes: number): boolean {
    for (const range of this.#racy) {
      if (at < range.to && range.from < at + bytes) return true;
    }
    return false;
  }
}
