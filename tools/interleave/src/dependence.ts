import { Cells } from "./cells.ts";
import type { Execution } from "./execution.ts";
import { Flag, isRead, isWrite, Operation } from "./operation.ts";

/** Told of a pair of dependent steps of different threads that could have happened in the other order. */
export type ReversibleRace = (first: number, second: number) => void;

/** Wait lists are locations too: their cells have this added to the word's address. */
const WAIT_LIST = 2 ** 40;
const EVERYTHING = -1;

/**
 * The happens-before relation of an execution by dependence of steps: program order, conflicting accesses, and who
 * enabled whom. Two executions with the same relation are equivalent, and one of them is enough.
 */
export class Dependence {
  readonly #threads: number;
  readonly #cells = new Cells();
  /** Per cell: the last step that wrote it, and per thread the last that read it since; -1 none. */
  #lastWrite: number[] = [];
  #lastRead: number[] = [];
  readonly #touched: number[] = [];
  /** Per step and thread: how many steps (by index + 1) of that thread happen before it. */
  #clocks = new Int32Array(0);
  readonly #stepThread: number[] = [];
  /** Last step of each thread. */
  readonly #last: number[] = [];
  #candidates: number[] = [];
  /** Steps that spun on everything. */
  #wildReads: number[] = [];

  constructor(threads: number) {
    this.#threads = threads;
  }

  /** Relate the steps of `execution`; report the races whose second step is `from` or later. */
  analyze(execution: Execution, from: number, onRace: ReversibleRace): void {
    const threads = this.#threads;
    const steps = execution.steps;
    this.#begin(steps);
    const races: number[] = [];
    const length = execution.logLength;
    for (let entry = 0; entry < length; entry++) {
      if ((execution.flags(entry) & Flag.Step) === 0) continue;
      const step = execution.log(entry, 3);
      const thread = execution.thread(entry);
      this.#stepThread[step] = thread;
      this.#inherit(step, thread, execution, entry);
      const end = this.#collect(execution, entry, length, step);
      this.#order(step, thread, step >= from ? races : undefined);
      this.#clocks[step * threads + thread] = step + 1;
      this.#record(execution, entry, end, step, thread);
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

  #begin(steps: number): void {
    if (this.#clocks.length < steps * this.#threads) this.#clocks = new Int32Array(steps * this.#threads * 2);
    for (const cell of this.#touched) {
      this.#lastWrite[cell] = -1;
      this.#lastRead.fill(-1, cell * this.#threads, (cell + 1) * this.#threads);
    }
    this.#touched.length = 0;
    this.#wildReads.length = 0;
    for (let thread = 0; thread < this.#threads; thread++) this.#last[thread] = -1;
  }

  /** Program order and, without a choice, whatever enabled the step. */
  #inherit(step: number, thread: number, execution: Execution, entry: number): void {
    this.#clocks.fill(0, step * this.#threads, (step + 1) * this.#threads);
    if (this.#last[thread] >= 0) this.#join(step, this.#last[thread]);
    if ((execution.flags(entry) & Flag.Idle) !== 0) {
      for (let other = 0; other < this.#threads; other++)
        if (this.#last[other] >= 0) this.#join(step, this.#last[other]);
    } else if ((execution.flags(entry) & Flag.Notified) !== 0) {
      const cause = execution.log(entry, 4);
      if (cause >= 0) this.#join(step, cause);
    }
  }

  /** Fill the candidates with earlier steps that the entry (and what belongs to it) depends on; returns its end. */
  #collect(execution: Execution, entry: number, length: number, step: number): number {
    this.#candidates.length = 0;
    let end = entry;
    do {
      this.#forEachCell(execution, end, (cell, write) => this.#addConflicts(cell, write));
      end++;
    } while (end < length && execution.operation(end) === Operation.Depends && execution.log(end, 3) === step);
    return end;
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
  #order(step: number, thread: number, races: number[] | undefined): void {
    this.#candidates.sort((left, right) => right - left);
    for (const earlier of this.#candidates) {
      const other = this.#stepThread[earlier];
      if (other === thread || this.#clocks[step * this.#threads + other] > earlier) continue;
      races?.push(earlier, step);
      this.#join(step, earlier);
    }
  }

  #record(execution: Execution, entry: number, end: number, step: number, thread: number): void {
    for (let each = entry; each < end; each++) {
      this.#forEachCell(execution, each, (cell, write) => {
        if (cell === EVERYTHING) {
          this.#wildReads.push(step);
          return;
        }
        this.#touched.push(cell);
        if (write) {
          this.#lastWrite[cell] = step;
          this.#lastRead.fill(-1, cell * this.#threads, (cell + 1) * this.#threads);
        } else {
          this.#lastRead[cell * this.#threads + thread] = step;
        }
      });
    }
  }

  #join(step: number, earlier: number): void {
    const threads = this.#threads;
    for (let thread = 0; thread < threads; thread++) {
      const value = this.#clocks[earlier * threads + thread];
      if (value > this.#clocks[step * threads + thread]) this.#clocks[step * threads + thread] = value;
    }
  }

  #forEachCell(execution: Execution, entry: number, visit: (cell: number, write: boolean) => void): void {
    const operation = execution.operation(entry);
    const at = execution.log(entry, 1);
    const bytes = execution.log(entry, 2);
    if (operation === Operation.Depends && bytes < 0) {
      visit(EVERYTHING, false);
      return;
    }
    if (operation === Operation.Wait || operation === Operation.Notify) visit(this.#cell(at + WAIT_LIST), true);
    if (operation === Operation.Depends && bytes === 0) visit(this.#cell(at + WAIT_LIST), false);
    const write = isWrite(operation, execution.flags(entry));
    if (!write && !isRead(operation) && operation !== Operation.Depends) return;
    for (let word = at >> 2; word << 2 < at + bytes; word++) visit(this.#cell(word), write);
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
