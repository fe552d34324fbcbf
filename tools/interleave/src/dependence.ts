import { Cells } from "./cells.ts";
import type { Execution } from "./execution.ts";
import { Flag, isRead, isWrite, Operation } from "./operation.ts";

/** Told of a pair of dependent steps of different threads that could have happened in the other order. */
export type ReversibleRace = (first: number, second: number) => void;

/** Wait lists are locations too: their cells have this added to the word's address. */
const WAIT_LIST = 2 ** 40;
const EVERYTHING = -1;

const latestFirst = (left: number, right: number): number => right - left;

/**
 * The happens-before relation of an execution by dependence of steps: program order, conflicting accesses, and who
 * enabled whom. Two executions with the same relation are equivalent, and one of them is enough.
 */
export class Dependence {
  readonly #threads: number;
  readonly #cells = new Cells();
  /** Per cell: the last step that wrote it, and per thread the last that read it since; -1 none. */
  readonly #lastWrite: number[] = [];
  readonly #lastRead: number[] = [];
  readonly #touched: number[] = [];
  /** Per step and thread: how many steps (by index + 1) of that thread happen before it. */
  #clocks = new Int32Array(0);
  readonly #stepThread: number[] = [];
  /** Last step of each thread. */
  readonly #last: number[] = [];
  readonly #candidates: number[] = [];
  /** Cells of the step at hand. */
  readonly #accessCells: number[] = [];
  readonly #accessWrites: boolean[] = [];
  #accessCount = 0;
  /** Steps that spun on everything. */
  readonly #wildReads: number[] = [];

  constructor(threads: number) {
    this.#threads = threads;
  }

  /** Relate the steps of `execution`; report the races whose second step is `from` or later. */
  analyze(execution: Execution, from: number, onRace: ReversibleRace): void {
    const threads = this.#threads;
    const steps = execution.steps;
    this.#begin(execution, steps, from);
    const races: number[] = [];
    const length = execution.logLength;
    for (let entry = 0; entry < length; entry++) {
      if ((execution.flags(entry) & Flag.Step) === 0) continue;
      const step = execution.log(entry, 3);
      const thread = execution.thread(entry);
      this.#fillCells(execution, entry, length);
      // What came before is as it was in the last execution: its clocks are known, its races were reported.
      if (step >= from) {
        this.#inherit(step, thread, execution, entry);
        this.#collect();
        this.#order(step, thread, races);
        this.#clocks[step * threads + thread] = step + 1;
      }
      this.#record(step, thread);
      this.#last[thread] = step;
    }
    for (let index = 0; index < races.length; index += 2) onRace(races[index], races[index + 1]);
  }

  /**
   * Threads that could take the first step of «what does not depend on `first`, then `second`», as a bit mask
   * (Abdulla, Aronis, Jonsson, Sagonas: Optimal Dynamic Partial Order Reduction, POPL 2014, § 4).
   */
  initials(first: number, second: number): number {
    const threads = this.#threads;
    const firstThread = this.#stepThread[first];
    const firstIn = Array.from({ length: threads }, () => -1);
    let mask = 0;
    for (let step = first + 1; step <= second; step++) {
      const thread = this.#stepThread[step];
      if (step !== second && this.#clocks[step * threads + firstThread] > first) continue;
      if (firstIn[thread] >= 0) continue;
      let initial = true;
      for (let other = 0; other < threads; other++) {
        if (other === thread || firstIn[other] < 0) continue;
        if (this.#clocks[step * threads + other] > firstIn[other]) initial = false;
      }
      firstIn[thread] = step;
      if (initial) mask |= 1 << thread;
    }
    return mask;
  }

  #begin(execution: Execution, steps: number, from: number): void {
    if (this.#clocks.length < steps * this.#threads) {
      const larger = new Int32Array(steps * this.#threads * 2);
      larger.set(this.#clocks);
      this.#clocks = larger;
    }
    for (const cell of this.#touched) {
      this.#lastWrite[cell] = -1;
      this.#lastRead.fill(-1, cell * this.#threads, (cell + 1) * this.#threads);
    }
    // A step whose operation threw (a wrong type) is not in the log: it did nothing, and nothing depends on it.
    this.#clocks.fill(0, from * this.#threads, steps * this.#threads);
    for (let step = 0; step < steps; step++) this.#stepThread[step] = execution.board.chosen[step];
    this.#touched.length = 0;
    this.#wildReads.length = 0;
    for (let thread = 0; thread < this.#threads; thread++) this.#last[thread] = -1;
  }

  /** Program order and, without a choice, whatever enabled the step. */
  #inherit(step: number, thread: number, execution: Execution, entry: number): void {
    if (this.#last[thread] >= 0) this.#join(step, this.#last[thread]);
    if ((execution.flags(entry) & Flag.Idle) !== 0) {
      for (let other = 0; other < this.#threads; other++)
        if (this.#last[other] >= 0) this.#join(step, this.#last[other]);
    } else if ((execution.flags(entry) & Flag.Notified) !== 0) {
      const cause = execution.log(entry, 4);
      if (cause >= 0) this.#join(step, cause);
    }
  }

  /** Fill the candidates with the earlier steps that the cells depend on. */
  #collect(): void {
    this.#candidates.length = 0;
    for (let index = 0; index < this.#accessCount; index++) {
      this.#addConflicts(this.#accessCells[index], this.#accessWrites[index]);
    }
  }

  #addConflicts(cell: number, write: boolean): void {
    if (cell === EVERYTHING) {
      for (const each of this.#touched) if (this.#lastWrite[each] >= 0) this.#candidates.push(this.#lastWrite[each]);
      return;
    }
    if (this.#lastWrite[cell] >= 0) this.#candidates.push(this.#lastWrite[cell]);
    if (!write) return;
    for (let thread = 0; thread < this.#threads; thread++) {
      const read = this.#lastRead[cell * this.#threads + thread];
      if (read >= 0) this.#candidates.push(read);
    }
    this.#candidates.push(...this.#wildReads);
  }

  /** Join the candidates, latest first: one that is not yet ordered before the step is an immediate race. */
  #order(step: number, thread: number, races: number[]): void {
    if (this.#candidates.length > 1) this.#candidates.sort(latestFirst);
    for (const earlier of this.#candidates) {
      const other = this.#stepThread[earlier];
      if (other === thread || this.#clocks[step * this.#threads + other] > earlier) continue;
      races.push(earlier, step);
      this.#join(step, earlier);
    }
  }

  #record(step: number, thread: number): void {
    for (let index = 0; index < this.#accessCount; index++) {
      const cell = this.#accessCells[index];
      if (cell === EVERYTHING) {
        this.#wildReads.push(step);
        continue;
      }
      this.#touched.push(cell);
      if (this.#accessWrites[index]) {
        this.#lastWrite[cell] = step;
        this.#lastRead.fill(-1, cell * this.#threads, (cell + 1) * this.#threads);
      } else {
        this.#lastRead[cell * this.#threads + thread] = step;
      }
    }
  }

  #join(step: number, earlier: number): void {
    const threads = this.#threads;
    for (let thread = 0; thread < threads; thread++) {
      const value = this.#clocks[earlier * threads + thread];
      if (value > this.#clocks[step * threads + thread]) this.#clocks[step * threads + thread] = value;
    }
  }

  /** Fill the accesses with the cells of a log entry and of what belongs to it. */
  #fillCells(execution: Execution, entry: number, length: number): void {
    this.#accessCount = 0;
    this.#addCells(execution, entry);
    for (let next = entry + 1; next < length && execution.operation(next) === Operation.Depends; next++) {
      this.#addCells(execution, next);
    }
  }

  #addCells(execution: Execution, entry: number): void {
    const operation = execution.operation(entry);
    const at = execution.log(entry, 1);
    const bytes = execution.log(entry, 2);
    if (operation === Operation.Depends && bytes < 0) {
      this.#addAccess(EVERYTHING, false);
      return;
    }
    if (operation === Operation.Wait || operation === Operation.Notify)
      this.#addAccess(this.#cell(at + WAIT_LIST), true);
    if (operation === Operation.Depends && bytes === 0) this.#addAccess(this.#cell(at + WAIT_LIST), false);
    const write = isWrite(operation, execution.flags(entry));
    if (!write && !isRead(operation) && operation !== Operation.Depends) return;
    for (let word = at >> 2; word << 2 < at + bytes; word++) this.#addAccess(this.#cell(word), write);
  }

  #addAccess(cell: number, write: boolean): void {
    this.#accessCells[this.#accessCount] = cell;
    this.#accessWrites[this.#accessCount++] = write;
  }

  #cell(key: number): number {
    const cell = this.#cells.id(key);
    if (cell === this.#lastWrite.length) {
      this.#lastWrite.push(-1);
      for (let thread = 0; thread < this.#threads; thread++) this.#lastRead.push(-1);
    }
    return cell;
  }
}
