import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import { soloHal } from "../solo-hal.ts";
import { captureSite, siteOf } from "./call-site.ts";
import { LockAccess, type LockArray, type LockKind, type LockObserver } from "./lock.ts";
import { LockGraph, Usage } from "./lock-graph.ts";
import { SharedNames, type SharedNamesHandle } from "./shared-names.ts";

const DEFAULT_CLASSES = 64;
const MAX_SITES = 1024;
const SLEEPING: readonly LockKind[] = ["mutex", "rwlock"];

/**
 * Rules of {@link LockValidator}.
 *
 * - `recursion`: a CPU asks for a lock that it holds.
 * - `nesting`: a CPU that holds a lock asks for one of the same array with a lower index, or of another array of the same name.
 * - `order`: locks were taken in an order that, with the orders seen before, can end in a deadlock.
 * - `interrupt`: a lock is taken in interrupt context, and elsewhere while interrupts may come in.
 * - `interrupt-order`: a lock of the one sort is held while one of the other is asked for, directly or by way of others.
 * - `sleep`: a sleeping lock is asked for in interrupt context, or while a spinning one is held.
 *
 * @public
 */
export type LockRule = "recursion" | "nesting" | "order" | "interrupt" | "interrupt-order" | "sleep";

/**
 * A broken rule. `text` has several lines and names all sites.
 *
 * @public
 */
export interface LockReport {
  readonly rule: LockRule;
  readonly cpu: CpuId;
  /** Class names: asked for, and in the case of `order` the way back to it. */
  readonly classes: readonly string[];
  /** Where the lock was asked for, and where the other was taken. */
  readonly sites: readonly [string, string];
  readonly text: string;
}

/**
 * Knows about interrupts; `PerCpuData` is one.
 *
 * @public
 */
export interface InterruptContext {
  /** Whether the calling CPU is in an interrupt. */
  inInterrupt(): boolean;
  /** Whether one can come in now; when left out, whenever the CPU is not in one. */
  interruptsEnabled?(): boolean;
}

/** What {@link LockValidator.create} and `attach` have in common. @public */
export interface LockValidatorJoin {
  /** Without it the rules about interrupts are not checked. */
  readonly context?: InterruptContext | undefined;
  /** Default: throw `SMP_LOCK_RULE` with the report's text, before the lock is taken (after it, for `try` forms). */
  readonly onReport?: ((report: LockReport) => void) | undefined;
}

/** What joins a {@link LockValidator} from another thread. @public */
export interface LockValidatorHandle {
  readonly possibleCpus: number;
  readonly classes: SharedNamesHandle;
  readonly sites: SharedNamesHandle;
  readonly graph: SharedArrayBuffer;
}

interface Held {
  readonly locks: LockArray;
  readonly lock: number;
  readonly access: LockAccess;
  readonly of: number;
  readonly site: Error;
}

/**
 * An observer that proves lock rules at run time, after Linux's lockdep (Documentation/locking/lockdep-design.rst): it
 * learns which class is taken while which is held, and reports an order that could deadlock the first time it sees both
 * orders, on whatever CPUs and threads, whether or not they met. All locks of one name are a class.
 *
 * Locks of one array may nest with rising index. A reader of a fair reader-writer lock waits behind a waiting writer, so readers
 * count in cycles, except of a class that nobody ever took exclusively; and a CPU may read what it reads already.
 *
 * For tests: it takes the stack at each acquisition, some microseconds. Thread-safety: the graph is shared by all threads that
 * attach it, what a CPU holds is known on its own thread.
 *
 * @public
 */
export class LockValidator implements LockObserver {
  readonly handle: LockValidatorHandle;
  /** Broken rules found by this thread; each once, also when the reporting throws. */
  readonly reports: LockReport[] = [];
  readonly #hal: Hal;
  readonly #context: InterruptContext | undefined;
  readonly #onReport: (report: LockReport) => void;
  readonly #classes: SharedNames;
  readonly #sites: SharedNames;
  readonly #graph: LockGraph;
  readonly #held: Held[][];
  readonly #told = new Set<string>();
  /** Once there is a class that is taken in interrupts, orders matter to them. */
  #interruptsSeen = false;

  private constructor(handle: LockValidatorHandle, hal: Hal, join: LockValidatorJoin) {
    this.handle = handle;
    this.#hal = hal;
    this.#context = join.context;
    this.#onReport = join.onReport ?? throwReport;
    this.#classes = SharedNames.attach(handle.classes, hal);
    this.#sites = SharedNames.attach(handle.sites, hal);
    this.#graph = new LockGraph(handle.classes.capacity, handle.graph);
    this.#held = Array.from({ length: handle.possibleCpus }, () => []);
  }

  /** `maxClasses`: default 64; names beyond are one class, so that its reports may be wrong. */
  static create(options: LockValidatorJoin & { readonly hal?: Hal; readonly maxClasses?: number } = {}): LockValidator {
    const { hal = soloHal(), maxClasses = DEFAULT_CLASSES } = options;
    const classes = SharedNames.create(maxClasses, hal).handle;
    const sites = SharedNames.create(MAX_SITES, hal).handle;
    const graph = new LockGraph(maxClasses).memory;
    return new LockValidator({ possibleCpus: hal.possibleCpus, classes, sites, graph }, hal, options);
  }

  static attach(handle: LockValidatorHandle, options: LockValidatorJoin & { readonly hal: Hal }): LockValidator {
    return new LockValidator(handle, options.hal, options);
  }

  onRequest(locks: LockArray, lock: number, access: LockAccess): void {
    const wanted = this.#entry(locks, lock, access);
    this.#checkSleep(wanted);
    this.#checkUsage(wanted);
    for (const held of this.#held[this.#hal.currentCpu()]) {
      if (held.of === wanted.of) this.#checkNesting(held, wanted);
      else this.#checkOrder(held, wanted);
    }
  }

  onAcquired(locks: LockArray, lock: number, _spins: number, access: LockAccess): void {
    const entry = this.#entry(locks, lock, access);
    this.#held[this.#hal.currentCpu()].push(entry);
    this.#checkUsage(entry);
  }

  onRelease(locks: LockArray, lock: number, access: LockAccess): void {
    const held = this.#held[this.#hal.currentCpu()];
    for (let i = held.length - 1; i >= 0; i--) {
      if (!isSameLock(held[i], locks, lock) || held[i].access !== access) continue;
      held.splice(i, 1);
      return;
    }
  }

  /** What `cpu` holds, as «name[index] (exclusive) taken at site»; of CPUs that this thread plays. */
  held(cpu: CpuId = this.#hal.currentCpu()): string[] {
    return this.#held[cpu].map((each) => `${describe(each)} taken at ${siteOf(each.site)}`);
  }

  /** The orders seen so far, as «held -> wanted» with class names. */
  orders(): string[] {
    const found: string[] = [];
    for (let from = 0; from < this.#classes.size; from++) {
      for (let to = 0; to < this.#classes.size; to++) {
        if (this.#graph.sites(from, to)[0] < 0) continue;
        found.push(`${this.#classes.name(from)} -> ${this.#classes.name(to)}`);
      }
    }
    return found.sort();
  }

  #entry(locks: LockArray, lock: number, access: LockAccess): Held {
    return { locks, lock, access, of: this.#classes.number(locks.name), site: captureSite() };
  }

  #checkSleep(wanted: Held): void {
    if (!SLEEPING.includes(wanted.locks.kind)) return;
    const atomic = this.#held[this.#hal.currentCpu()].find(({ locks }) => !SLEEPING.includes(locks.kind));
    const inInterrupt = this.#context?.inInterrupt() === true;
    if (atomic === undefined && !inInterrupt) return;
    const why = inInterrupt ? "in interrupt context" : `while it holds ${describe(atomic ?? wanted)}`;
    this.#report(
      "sleep",
      [wanted.of, atomic?.of ?? wanted.of],
      [wanted.site, atomic?.site ?? wanted.site],
      ["sleeping lock in atomic context", `CPU ${this.#hal.currentCpu()} asks for ${describe(wanted)} ${why}`],
    );
  }

  #checkNesting(held: Held, wanted: Held): void {
    const same = isSameLock(held, wanted.locks, wanted.lock);
    const sameArray = held.locks.handle.memory === wanted.locks.handle.memory;
    if (same && held.access === LockAccess.Shared && wanted.access === LockAccess.Shared) return;
    if (!same && sameArray && wanted.lock > held.lock) return;
    const title = same ? "recursive locking" : "nested locks of one class, not with rising index";
    this.#report(
      same ? "recursion" : "nesting",
      [wanted.of, held.of],
      [wanted.site, held.site],
      [title, `CPU ${this.#hal.currentCpu()} asks for ${describe(wanted)} while it holds ${describe(held)}`],
    );
  }

  #checkOrder(held: Held, wanted: Held): void {
    const bits = 1 << (held.access * 2 + wanted.access);
    if (this.#graph.hasEdge(held.of, wanted.of, bits)) return;
    const way = this.#graph.path(wanted.of, (of) => of === held.of);
    if (way !== undefined && this.#makesWait(held.of) && this.#makesWait(wanted.of))
      this.#reportOrder(held, wanted, way);
    this.#graph.addEdge(held.of, wanted.of, bits, this.#site(held.site), this.#site(wanted.site));
    if (this.#interruptsSeen) this.#checkInterruptOrder(wanted);
  }

  #makesWait(of: number): boolean {
    return (this.#graph.usage(of) & (Usage.Any << LockAccess.Exclusive)) !== 0;
  }

  #reportOrder(held: Held, wanted: Held, way: readonly number[]): void {
    const lines = [
      "possible circular locking dependency",
      `CPU ${this.#hal.currentCpu()} asks for ${describe(wanted)} while it holds ${describe(held)}; but before:`,
    ];
    for (let i = 0; i + 1 < way.length; i++) {
      const [from, to] = this.#graph.sites(way[i], way[i + 1]);
      lines.push(
        `  ${this.#classes.name(way[i + 1])} was taken while ${this.#classes.name(way[i])} was held`,
        `    ${this.#classes.name(way[i])} at ${this.#sites.name(from)}`,
        `    ${this.#classes.name(way[i + 1])} at ${this.#sites.name(to)}`,
      );
    }
    this.#report("order", way, [wanted.site, held.site], lines);
  }

  #checkUsage(entry: Held): void {
    let bits = Usage.Any << entry.access;
    if (this.#context !== undefined) {
      const inInterrupt = this.#context.inInterrupt();
      const enabled = this.#context.interruptsEnabled?.() ?? !inInterrupt;
      if (inInterrupt) bits |= Usage.InInterrupt << entry.access;
      if (enabled) bits |= Usage.InterruptsOn << entry.access;
    }
    if ((this.#graph.usage(entry.of) & bits) === bits) return;
    const added = this.#graph.addUsage(entry.of, bits, this.#site(entry.site));
    if ((added & (Usage.Any << LockAccess.Exclusive)) !== 0) this.#checkFirstWriter(entry);
    this.#checkInterruptUse(entry);
  }

  /** Cycles through a class that had readers only did not count before. */
  #checkFirstWriter(entry: Held): void {
    const way = this.#graph.path(entry.of, (of) => of === entry.of);
    if (way === undefined || !way.every((of) => this.#makesWait(of))) return;
    this.#reportOrder(entry, entry, way);
  }

  #checkInterruptUse(entry: Held): void {
    const usage = this.#graph.usage(entry.of);
    const inside = (usage >> 0) & 3;
    const outside = (usage >> 2) & 3;
    if (inside !== 0) this.#interruptsSeen = true;
    const exclusive = 1 << LockAccess.Exclusive;
    if (inside !== 0 && outside !== 0 && ((inside | outside) & exclusive) !== 0) {
      const insideSite = this.#usageSite(entry.of, inside, 0);
      const outsideSite = this.#usageSite(entry.of, outside, 2);
      const name = this.#classes.name(entry.of);
      this.#report(
        "interrupt",
        [entry.of, entry.of],
        [insideSite, outsideSite],
        [
          "lock taken in interrupt context, and elsewhere with interrupts on",
          `${name} in an interrupt at ${insideSite}`,
          `${name} with interrupts on at ${outsideSite}`,
        ],
      );
    }
    if (this.#interruptsSeen) this.#checkInterruptOrder(entry);
  }

  /** From every class that interrupts take there must be no way, over what is asked for, to one they may interrupt. */
  #checkInterruptOrder(entry: Held): void {
    const interruptible = (of: number): boolean => ((this.#graph.usage(of) >> 2) & 3) !== 0;
    for (let from = 0; from < this.#classes.size; from++) {
      if ((this.#graph.usage(from) & 3) === 0) continue;
      const way = this.#graph.path(from, interruptible);
      if (way === undefined) continue;
      const [held, wanted] = this.#graph.sites(way[0], way[1]);
      const names = way.map((of) => this.#classes.name(of));
      this.#report(
        "interrupt-order",
        way,
        [this.#sites.name(wanted), this.#sites.name(held)],
        [
          "lock that interrupts take held over one taken with interrupts on",
          `${names.join(" -> ")}; found as CPU ${this.#hal.currentCpu()} asks for ${describe(entry)}`,
        ],
      );
    }
  }

  #usageSite(of: number, accesses: number, shift: number): string {
    const access = (accesses & 1) !== 0 ? LockAccess.Exclusive : LockAccess.Shared;
    return this.#sites.name(this.#graph.usageSite(of, shift + access));
  }

  #site(captured: Error): number {
    return this.#sites.number(siteOf(captured));
  }

  #report(
    rule: LockRule,
    classes: readonly number[],
    captured: readonly [Error | string, Error | string],
    lines: readonly string[],
  ): void {
    const key = `${rule} ${classes.join()}`;
    if (this.#told.has(key)) return;
    const names = classes.map((of) => this.#classes.name(of));
    const [first, second] = captured.map((site) => (typeof site === "string" ? site : siteOf(site)));
    const text = [...lines, `  asked for at ${first}`, `  other taken at ${second}`].join("\n");
    const report: LockReport = { rule, cpu: this.#hal.currentCpu(), classes: names, sites: [first, second], text };
    this.#told.add(key);
    this.reports.push(report);
    this.#onReport(report);
  }
}

function throwReport(report: LockReport): never {
  throw new SmpError("SMP_LOCK_RULE", report.text);
}

function isSameLock(held: Held, locks: LockArray, lock: number): boolean {
  return held.lock === lock && held.locks.handle.memory === locks.handle.memory;
}

function describe({ locks, lock, access }: Held): string {
  return `${locks.name}[${lock}]${access === LockAccess.Shared ? " (shared)" : ""}`;
}
