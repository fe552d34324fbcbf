import { Cells } from "./cells.ts";
import type { Execution } from "./execution.ts";
import { Flag, isPlain, isRead, isWrite, Operation } from "./operation.ts";

/** Two accesses that nothing orders, or an access to freed memory. */
export interface AccessConflict {
  readonly kind: "data-race" | "use-after-free";
  readonly first: number;
  readonly second: number;
  readonly at: number;
}

/** Kinds of access remembered per cell and thread. */
const PLAIN_WRITE = 0;
const PLAIN_READ = 1;
const ATOMIC_WRITE = 2;
const ATOMIC_READ = 3;
const KINDS = 4;
/** What each kind of access conflicts with. */
const CONFLICTS = [
  [PLAIN_WRITE, PLAIN_READ, ATOMIC_WRITE, ATOMIC_READ],
  [PLAIN_WRITE, ATOMIC_WRITE],
  [PLAIN_WRITE, PLAIN_READ],
  [PLAIN_WRITE],
];
const WAIT_LIST = 2 ** 40;

/**
 * Data races by vector clocks. Order comes from program order, from an atomic read to the atomic write it reads from
 * (ECMA-262 § 29, synchronizes-with), and from the critical sections of wait and notify. Unlike `Dependence` a read
 * orders nothing before a later write, so a race shows in whichever order it took place.
 */
export class DataRaces {
  readonly #threads: number;
  readonly #cells = new Cells();
  #epochs = new Int32Array(0);
  #entries = new Int32Array(0);
  /** Vector clock that a reader of the cell acquires. */
  #released: (number[] | undefined)[] = [];
  #freedAt: (number | undefined)[] = [];
  #clocks: number[][] = [];
  #shift = 2;

  constructor(threads: number) {
    this.#threads = threads;
  }

  /** The first conflict of the execution. */
  find(execution: Execution): AccessConflict | undefined {
    this.#begin(execution);
    for (let entry = 0; entry < execution.logLength; entry++) {
      const conflict = this.#visit(execution, entry);
      if (conflict !== undefined) return conflict;
    }
    return undefined;
  }

  #begin(execution: Execution): void {
    this.#epochs.fill(0);
    this.#released = [];
    this.#freedAt = [];
    this.#clocks = Array.from({ length: this.#threads }, (_, thread) =>
      Array.from({ length: this.#threads }, (__, other) => (thread === other ? 1 : 0)),
    );
    // Words are enough unless somebody looks at parts of them; then every byte counts for itself.
    for (let entry = 0; this.#shift !== 0 && entry < execution.logLength; entry++) {
      if (((execution.log(entry, 1) | execution.log(entry, 2)) & 3) !== 0) this.#shift = 0;
    }
  }

  #visit(execution: Execution, entry: number): AccessConflict | undefined {
    const operation = execution.operation(entry);
    const thread = execution.thread(entry);
    const clock = this.#clocks[thread];
    const flags = execution.flags(entry);
    this.#acquire(execution, entry, clock);
    const lifetime = operation === Operation.Free || operation === Operation.Allocate;
    let conflict: AccessConflict | undefined;
    if (lifetime || isRead(operation) || isWrite(operation, flags)) {
      conflict = this.#access(execution, entry, accessKind(operation, flags), lifetime);
    }
    this.#release(execution, entry, clock);
    return conflict;
  }

  #access(execution: Execution, entry: number, kind: number, lifetime: boolean): AccessConflict | undefined {
    if ((execution.flags(entry) & Flag.Exempt) !== 0 && !lifetime) return undefined;
    const thread = execution.thread(entry);
    const at = execution.log(entry, 1);
    const end = at + execution.log(entry, 2);
    for (let unit = at >> this.#shift; unit << this.#shift < end; unit++) {
      const cell = this.#cell(unit);
      const freed = this.#freedAt[cell];
      if (freed !== undefined && execution.operation(entry) !== Operation.Allocate) {
        return { kind: "use-after-free", first: freed, second: entry, at: unit << this.#shift };
      }
      const earlier = this.#unordered(cell, kind, thread);
      if (earlier >= 0) {
        const involvesFree = lifetime || isLifetime(execution.operation(earlier));
        return {
          kind: involvesFree ? "use-after-free" : "data-race",
          first: earlier,
          second: entry,
          at: unit << this.#shift,
        };
      }
      const slot = (cell * this.#threads + thread) * KINDS + kind;
      this.#epochs[slot] = this.#clocks[thread][thread];
      this.#entries[slot] = entry;
      if (lifetime) this.#freedAt[cell] = execution.operation(entry) === Operation.Free ? entry : undefined;
    }
    return undefined;
  }

  /** An earlier conflicting access by another thread that does not happen before this one; -1 none. */
  #unordered(cell: number, kind: number, thread: number): number {
    const clock = this.#clocks[thread];
    for (let other = 0; other < this.#threads; other++) {
      if (other === thread) continue;
      for (const against of CONFLICTS[kind]) {
        const slot = (cell * this.#threads + other) * KINDS + against;
        if (this.#epochs[slot] > clock[other]) return this.#entries[slot];
      }
    }
    return -1;
  }

  #acquire(execution: Execution, entry: number, clock: number[]): void {
    this.#forEachSync(execution, entry, (key, reads) => {
      const released = reads ? this.#released[this.#cell(key)] : undefined;
      if (released !== undefined) join(clock, released);
    });
  }

  #release(execution: Execution, entry: number, clock: number[]): void {
    let released = false;
    this.#forEachSync(execution, entry, (key, _, writes) => {
      if (!writes) return;
      this.#released[this.#cell(key)] = clock.slice();
      released = true;
    });
    if (released) clock[execution.thread(entry)]++;
  }

  /** Visit what the entry synchronises through: the cells it reads or writes atomically, and wait lists. */
  #forEachSync(
    execution: Execution,
    entry: number,
    visit: (key: number, reads: boolean, writes: boolean) => void,
  ): void {
    const operation = execution.operation(entry);
    const at = execution.log(entry, 1);
    if (operation === Operation.Wait || operation === Operation.Notify) visit(at + WAIT_LIST, true, true);
    if (operation === Operation.Resume && (execution.flags(entry) & Flag.Notified) !== 0) {
      visit(at + WAIT_LIST, true, true);
    }
    if (operation === Operation.Depends && execution.log(entry, 2) === 0) visit(at + WAIT_LIST, true, false);
    if (isPlain(operation)) return;
    const writes = isWrite(operation, execution.flags(entry));
    const reads = isRead(operation);
    if (!reads && !writes) return;
    const end = at + execution.log(entry, 2);
    for (let unit = at >> this.#shift; unit << this.#shift < end; unit++) visit(unit, reads, writes);
  }

  #cell(key: number): number {
    const cell = this.#cells.id(key);
    const slots = (cell + 1) * this.#threads * KINDS;
    if (slots > this.#epochs.length) {
      this.#epochs = grown(this.#epochs, slots * 2);
      this.#entries = grown(this.#entries, slots * 2);
    }
    return cell;
  }
}

function accessKind(operation: number, flags: number): number {
  const write = isWrite(operation, flags) || isLifetime(operation);
  const plain = (isPlain(operation) && (flags & Flag.Racy) === 0) || isLifetime(operation);
  if (plain) return write ? PLAIN_WRITE : PLAIN_READ;
  return write ? ATOMIC_WRITE : ATOMIC_READ;
}

function isLifetime(operation: number): boolean {
  return operation === Operation.Free || operation === Operation.Allocate;
}

function join(clock: number[], other: number[]): void {
  for (let thread = 0; thread < clock.length; thread++)
    if (other[thread] > clock[thread]) clock[thread] = other[thread];
}

function grown(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}
