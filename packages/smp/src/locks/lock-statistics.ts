import type { CpuId, Hal } from "../hal.ts";
import { soloHal } from "../solo-hal.ts";
import { LockAccess, type LockArray, type LockObserver } from "./lock.ts";
import { SharedNames, type SharedNamesHandle } from "./shared-names.ts";

/* A row of doubles for each CPU, class and access, written by its CPU alone: counts, times, two histograms. */
const ROW_FIELDS = [
  "acquisitions",
  "contentions",
  "gaveUp",
  "ownersDied",
  "waitNsMin",
  "waitNsMax",
  "waitNsTotal",
  "holdNsMin",
  "holdNsMax",
  "holdNsTotal",
] as const;
const [ACQUISITIONS, CONTENTIONS, GAVE_UP, OWNERS_DIED, WAIT_MIN, , , HOLD_MIN] = ROW_FIELDS.keys();
const BUCKETS = 32;
const WAIT_HISTOGRAM: number = ROW_FIELDS.length;
const HOLD_HISTOGRAM: number = WAIT_HISTOGRAM + BUCKETS;
const ROW: number = HOLD_HISTOGRAM + BUCKETS;
const DEFAULT_CLASSES = 64;

/**
 * What joins {@link LockStatistics} from another thread.
 *
 * @public
 */
export interface LockStatisticsHandle {
  readonly possibleCpus: number;
  readonly perLock: boolean;
  readonly classes: SharedNamesHandle;
  readonly memory: SharedArrayBuffer;
}

/**
 * What {@link LockStatistics.snapshot} knows of a class of locks. Times of a class that has none are 0.
 *
 * @public
 */
export interface LockClassStatistics {
  readonly name: string;
  readonly access: "exclusive" | "shared";
  readonly acquisitions: number;
  /** Acquisitions and attempts with a time limit that had to wait. */
  readonly contentions: number;
  /** Requests that ended without the lock. */
  readonly gaveUp: number;
  readonly ownersDied: number;
  readonly waitNsMin: number;
  readonly waitNsMax: number;
  readonly waitNsTotal: number;
  readonly holdNsMin: number;
  readonly holdNsMax: number;
  readonly holdNsTotal: number;
  /** How many waits took 2^(i-1) to 2^i ns; the first also those of 0, the last all that took longer. */
  readonly waitHistogram: readonly number[];
  readonly holdHistogram: readonly number[];
}

interface Held {
  locks: LockArray | undefined;
  lock: number;
  access: LockAccess;
  sinceNs: number;
}

/**
 * Counts and times what happens to locks of all kinds that have it as their observer, on all threads that attach it: the kernel's
 * lock_stat. Readers of a reader-writer lock are a class of their own.
 *
 * Thread-safety: each CPU writes rows of its own, anybody reads; a snapshot of running threads is a moment's approximation.
 * Cost: two readings of the clock per acquisition. Several asynchronous waits of one CPU at a time are timed as one.
 *
 * @public
 */
export class LockStatistics implements LockObserver {
  readonly handle: LockStatisticsHandle;
  readonly #hal: Hal;
  readonly #classes: SharedNames;
  readonly #rows: Float64Array;
  readonly #numbers = new Map<LockArray, number[]>();
  readonly #waitingSinceNs: Float64Array;
  /** By CPU; entries are used again. */
  readonly #held: Held[][];

  private constructor(handle: LockStatisticsHandle, hal: Hal) {
    this.handle = handle;
    this.#hal = hal;
    this.#classes = SharedNames.attach(handle.classes, hal);
    this.#rows = new Float64Array(handle.memory);
    this.#waitingSinceNs = new Float64Array(handle.possibleCpus).fill(NaN);
    this.#held = Array.from({ length: handle.possibleCpus }, () => []);
  }

  /** `perLock`: every lock of an array is a class, `name[index]`. Classes beyond `maxClasses` (64) are counted as the last one. */
  static create(
    options: { readonly hal?: Hal; readonly perLock?: boolean; readonly maxClasses?: number } = {},
  ): LockStatistics {
    const { hal = soloHal(), perLock = false, maxClasses = DEFAULT_CLASSES } = options;
    const { possibleCpus } = hal;
    const classes = SharedNames.create(maxClasses, hal).handle;
    const memory = new SharedArrayBuffer(possibleCpus * maxClasses * 2 * ROW * 8);
    return new LockStatistics({ possibleCpus, perLock, classes, memory }, hal);
  }

  static attach(handle: LockStatisticsHandle, options: { readonly hal: Hal }): LockStatistics {
    return new LockStatistics(handle, options.hal);
  }

  onContended(_locks: LockArray, _lock: number, _owner: number): void {
    this.#waitingSinceNs[this.#hal.currentCpu()] = this.#hal.now();
  }

  onAcquired(locks: LockArray, lock: number, _spins: number, access: LockAccess): void {
    const cpu = this.#hal.currentCpu();
    const nowNs = this.#hal.now();
    const row = this.#row(locks, lock, access, cpu);
    this.#rows[row + ACQUISITIONS]++;
    this.#endWait(row, cpu, nowNs);
    const held = this.#held[cpu];
    let free = 0;
    while (free < held.length && held[free].locks !== undefined) free++;
    const entry = (held[free] ??= { locks: undefined, lock: 0, access, sinceNs: 0 });
    entry.locks = locks;
    entry.lock = lock;
    entry.access = access;
    entry.sinceNs = nowNs;
  }

  onGaveUp(locks: LockArray, lock: number, access: LockAccess): void {
    const cpu = this.#hal.currentCpu();
    const row = this.#row(locks, lock, access, cpu);
    this.#rows[row + GAVE_UP]++;
    this.#endWait(row, cpu, this.#hal.now());
  }

  onRelease(locks: LockArray, lock: number, access: LockAccess): void {
    const cpu = this.#hal.currentCpu();
    for (const entry of this.#held[cpu]) {
      if (entry.locks !== locks || entry.lock !== lock || entry.access !== access) continue;
      entry.locks = undefined;
      this.#addTime(this.#row(locks, lock, access, cpu), HOLD_MIN, HOLD_HISTOGRAM, this.#hal.now() - entry.sinceNs);
      return;
    }
  }

  onOwnerDied(locks: LockArray, lock: number): void {
    this.#rows[this.#row(locks, lock, LockAccess.Exclusive, this.#hal.currentCpu()) + OWNERS_DIED]++;
  }

  /** All classes that were used, those with most contention first, then most acquisitions. */
  snapshot(): LockClassStatistics[] {
    const found: LockClassStatistics[] = [];
    for (let number = 0; number < this.#classes.size; number++) {
      for (const access of [LockAccess.Exclusive, LockAccess.Shared]) {
        const statistics = this.#sum(number, access);
        if (statistics.acquisitions + statistics.gaveUp > 0) found.push(statistics);
      }
    }
    return found.sort((a, b) => b.contentions - a.contentions || b.acquisitions - a.acquisitions);
  }

  /** Forget all counts. Not while other threads use their locks. */
  reset(): void {
    this.#rows.fill(0);
  }

  #row(locks: LockArray, lock: number, access: LockAccess, cpu: CpuId): number {
    let numbers = this.#numbers.get(locks);
    if (numbers === undefined) this.#numbers.set(locks, (numbers = []));
    const index = this.handle.perLock ? lock : 0;
    const number = (numbers[index] ??= this.#classes.number(
      this.handle.perLock ? `${locks.name}[${lock}]` : locks.name,
    ));
    return ((cpu * this.handle.classes.capacity + number) * 2 + access) * ROW;
  }

  #endWait(row: number, cpu: CpuId, nowNs: number): void {
    const sinceNs = this.#waitingSinceNs[cpu];
    if (Number.isNaN(sinceNs)) return;
    this.#waitingSinceNs[cpu] = NaN;
    this.#rows[row + CONTENTIONS]++;
    this.#addTime(row, WAIT_MIN, WAIT_HISTOGRAM, nowNs - sinceNs);
  }

  /** Minimum, maximum and total lie behind each other; a minimum of 0 means none yet, and times are at least 1 ns. */
  #addTime(row: number, min: number, histogram: number, timeNs: number): void {
    const rows = this.#rows;
    const ns = Math.max(1, timeNs);
    if (rows[row + min] === 0 || ns < rows[row + min]) rows[row + min] = ns;
    if (ns > rows[row + min + 1]) rows[row + min + 1] = ns;
    rows[row + min + 2] += ns;
    rows[row + histogram + Math.min(BUCKETS - 1, 32 - Math.clz32(Math.min(ns, 0xffffffff) - 1))]++;
  }

  #sum(number: number, access: LockAccess): LockClassStatistics {
    const sum = new Float64Array(ROW);
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      const row = ((cpu * this.handle.classes.capacity + number) * 2 + access) * ROW;
      for (let field = 0; field < ROW; field++) {
        const value = this.#rows[row + field];
        const name = ROW_FIELDS[field];
        if (name === "waitNsMax" || name === "holdNsMax") sum[field] = Math.max(sum[field], value);
        else if (name === "waitNsMin" || name === "holdNsMin") {
          if (value > 0) sum[field] = sum[field] === 0 ? value : Math.min(sum[field], value);
        } else sum[field] += value;
      }
    }
    const fields = Object.fromEntries(ROW_FIELDS.map((name, index) => [name, sum[index]]));
    return {
      ...(fields as Record<(typeof ROW_FIELDS)[number], number>),
      name: this.#classes.name(number),
      access: access === LockAccess.Shared ? "shared" : "exclusive",
      waitHistogram: [...sum.subarray(WAIT_HISTOGRAM, HOLD_HISTOGRAM)],
      holdHistogram: [...sum.subarray(HOLD_HISTOGRAM, ROW)],
    };
  }
}

const COLUMNS = [
  "contentions",
  "waittime-min",
  "waittime-max",
  "waittime-total",
  "waittime-avg",
  "acquisitions",
  "holdtime-min",
  "holdtime-max",
  "holdtime-total",
  "holdtime-avg",
] as const;

/**
 * The text form of Linux's /proc/lock_stat (Documentation/locking/lockstat.rst): times in microseconds, readers and writers
 * of a class as `name-R` and `name-W`. The columns about bouncing lines are left out.
 *
 * @public
 */
export function lockStatText(classes: readonly LockClassStatistics[]): string {
  const shared = new Set(classes.filter(({ access }) => access === "shared").map(({ name }) => name));
  const us = (ns: number): string => (ns / 1000).toFixed(2);
  const average = (total: number, count: number): string => us(count === 0 ? 0 : total / count);
  const rows = classes.map((of) => [
    shared.has(of.name) ? `${of.name}-${of.access === "shared" ? "R" : "W"}` : of.name,
    String(of.contentions),
    us(of.waitNsMin),
    us(of.waitNsMax),
    us(of.waitNsTotal),
    average(of.waitNsTotal, of.contentions),
    String(of.acquisitions),
    us(of.holdNsMin),
    us(of.holdNsMax),
    us(of.holdNsTotal),
    average(of.holdNsTotal, of.acquisitions),
  ]);
  const table = [["class name", ...COLUMNS], ...rows];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const lines = table.map((row) => row.map((cell, column) => cell.padStart(widths[column])).join("  "));
  const rule = "-".repeat(lines[0].length);
  return ["lock_stat version 0.4", rule, lines[0], rule, ...lines.slice(1), ""].join("\n");
}
