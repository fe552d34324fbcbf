import type { CpuId } from "@x/smp";
import { CURRENT, ERA, FIRST_CPU, SECTIONS, STRIDE_WORDS } from "./grace-period-layout.ts";
import type { GracePeriods } from "./grace-periods.ts";
import type { RcuObserver } from "./observer.ts";
import { ReadInterval } from "./read-interval.ts";
import type { RcuHandle } from "./rcu-options.ts";
import { marksByAtomics, marksByWasm, type SectionMarks } from "./section-marks.ts";
import { AWAITED, FIRST_SEQUENCE, OFFLINE, parity } from "./sequence.ts";

/** Of this module, because compiled code reads an import through a cell at each use. */
const SEEN = FIRST_CPU;
const STRIDE = STRIDE_WORDS;
const LATEST = CURRENT;
/** Of so many looks at CURRENT, a power of two, all but one are plain loads. */
const LOOKS = 16;

/** What the CPUs of one thread tell grace periods: that they read, that they no longer do, that they have passed. */
export class Readers {
  /** How long what this thread has fetched may be kept. */
  readonly interval: ReadInterval = new ReadInterval();
  /* Declared and not private names where every section passes, see pointer.ts. */
  declare private readonly words: Int32Array;
  declare private readonly marks: SectionMarks;
  /** Flavour `qsbr`: a CPU is a reader until it announces. */
  declare private readonly announces: boolean;
  readonly #periods: GracePeriods;
  readonly #observer: RcuObserver | undefined;
  readonly #sleepable: boolean;
  /** CURRENT and ERA as they were when the interval began. */
  #known = FIRST_SEQUENCE;
  #era = 0;
  #looks = 0;

  constructor(handle: RcuHandle, periods: GracePeriods, observer: RcuObserver | undefined) {
    const { memory, wasmMemory } = handle;
    this.words = new Int32Array(memory);
    this.marks = (wasmMemory === undefined ? undefined : marksByWasm(wasmMemory)) ?? marksByAtomics(this.words);
    this.announces = handle.flavour === "qsbr";
    this.#periods = periods;
    this.#observer = observer;
    this.#sleepable = handle.flavour === "sleepable";
  }

  isOnline(cpu: CpuId): boolean {
    if (this.#sleepable) return this.sections(cpu) !== 0;
    return Atomics.load(this.words, SEEN + cpu * STRIDE) !== OFFLINE;
  }

  /** Sections open on `cpu`, flavour `sleepable`. */
  sections(cpu: CpuId): number {
    const at = SEEN + cpu * STRIDE + SECTIONS;
    return Atomics.load(this.words, at) + Atomics.load(this.words, at + 1);
  }

  /** Whether `cpu`, which must be the calling one, is online: its own word needs no Atomics. */
  selfOnline(cpu: CpuId): boolean {
    return this.words[SEEN + cpu * STRIDE] !== OFFLINE;
  }

  /**
   * A look, flavour `qsbr`, at whether the calling CPU is online and has not announced for the current sequence. A plain one, since it is
   * safe to see a grace period late; by Atomics now and then, since a plain load need not see it ever.
   */
  owesAnnouncement(cpu: CpuId): boolean {
    if (!this.announces) return false;
    const { words } = this;
    const seen = words[SEEN + cpu * STRIDE];
    if (seen === OFFLINE) return false;
    this.#looks = (this.#looks + 1) & (LOOKS - 1);
    return seen !== (this.#looks === 0 ? Atomics.load(words, LATEST) : words[LATEST]);
  }

  /**
   * `cpu` becomes a reader. It says so first, by a sequence that may be old: that holds up whatever has begun since, which is safe.
   * Then it looks, so that nothing fetched later is older than what it says; and whoever was held up is let go. When it is done no
   * later grace period had begun, so whichever awaits it has not marked a word that it stored over.
   */
  enter(cpu: CpuId): void {
    const at = SEEN + cpu * STRIDE;
    if (this.marks.enter(at, this.#known, this.#era) === 0) this.#enterLate(at);
  }

  leave(cpu: CpuId): void {
    Atomics.store(this.words, SEEN + cpu * STRIDE, OFFLINE);
  }

  /** {@link Readers.leave} of flavour `memory-barrier`, that goes on with a grace period which waited for this reader. */
  leaveSection(cpu: CpuId): void {
    if (this.marks.leave(SEEN + cpu * STRIDE) === AWAITED) this.#periods.advance();
  }

  /** Count a section on `cpu`; returns the counter it is in, for {@link Readers.closeSection}. */
  openSection(cpu: CpuId): number {
    for (;;) {
      const sequence = Atomics.load(this.words, CURRENT);
      const counter = parity(sequence);
      Atomics.add(this.words, SEEN + cpu * STRIDE + SECTIONS + counter, 1);
      if (Atomics.load(this.words, CURRENT) === sequence) {
        if (sequence !== this.#known || this.words[ERA] !== this.#era) this.#beginInterval();
        return counter;
      }
      this.closeSection(cpu, counter);
    }
  }

  /** End a section that {@link Readers.openSection} counted, from any CPU. False, and nothing done, if none is open there. */
  closeSection(cpu: CpuId, counter: number): boolean {
    const at = SEEN + cpu * STRIDE + SECTIONS + counter;
    for (let open = Atomics.load(this.words, at); ;) {
      if (open === 0) return false;
      const found = Atomics.compareExchange(this.words, at, open, open - 1);
      if (found === open) break;
      open = found;
    }
    if (parity(Atomics.load(this.words, CURRENT)) !== counter) this.#periods.advance();
    return true;
  }

  /** `cpu` is online and quiescent now. Ends what can be ended; two turns, so that a period begun here sees it too. */
  announce(cpu: CpuId): void {
    const at = SEEN + cpu * STRIDE;
    for (let turn = 0; turn < 2; turn++) {
      Atomics.store(this.words, at, this.#beginInterval());
      this.#observer?.onQuiescentState?.(cpu);
      this.#periods.advance();
      const seen = this.words[at];
      if (seen === Atomics.load(this.words, CURRENT) || seen === OFFLINE) return;
    }
  }

  #enterLate(at: number): void {
    let sequence: number;
    do {
      sequence = this.#beginInterval();
      Atomics.store(this.words, at, sequence);
    } while (Atomics.load(this.words, CURRENT) !== sequence);
    this.#periods.advance();
  }

  /** Returns the sequence under which it begins. ERA first: if CURRENT wraps in between, the era is one that does not come again. */
  #beginInterval(): number {
    this.interval.end();
    this.#era = Atomics.load(this.words, ERA);
    return (this.#known = Atomics.load(this.words, CURRENT));
  }
}
