import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import { PADDING_BYTES } from "./layout.ts";
import { soloHal } from "./solo-hal.ts";

/*
 * One padded block of words per CPU:
 *
 *   word 0  preempt word     written by its CPU only:  nmi 20-23 | hardirq 16-19 | softirq 8-15 | preempt 0-7
 *   word 1  need_resched     written by any CPU, Atomics only
 *   word 2  current task     written by its CPU only
 *   word 3  idle ticks       written by its CPU only
 *   word 4  total ticks      written by its CPU only
 *
 * The preempt word has the field layout of Linux's preempt_count (include/linux/preempt.h).
 */
const STRIDE_WORDS = PADDING_BYTES / 4;
const PREEMPT_WORD = 0;
const NEED_RESCHED_WORD = 1;
const CURRENT_TASK_WORD = 2;
const IDLE_TICKS_WORD = 3;
const TOTAL_TICKS_WORD = 4;

const PREEMPT_ONE = 1;
const PREEMPT_MASK = 0xff;
const SOFTIRQ_ONE = 1 << 8;
const SOFTIRQ_MASK = 0xff00;
const HARDIRQ_ONE = 1 << 16;
const HARDIRQ_MASK = 0xf0000;
const NMI_ONE = 1 << 20;
const NMI_MASK = 0xf00000;

/**
 * What joins {@link PerCpuData} from another thread.
 *
 * @public
 */
export interface PerCpuDataHandle {
  readonly possibleCpus: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * The words every CPU keeps for itself: nesting counts, `need_resched`, the running task, tick counts.
 *
 * Thread-safety: every method that takes no `cpu` acts on the calling CPU's block, which that CPU alone writes, with
 * plain loads and stores; `setNeedResched` may come from any CPU. Cost: one plain store.
 *
 * @public
 */
export class PerCpuData {
  readonly handle: PerCpuDataHandle;
  readonly #hal: Hal;
  readonly #words: Int32Array;

  private constructor(handle: PerCpuDataHandle, hal: Hal) {
    this.handle = handle;
    this.#hal = hal;
    this.#words = new Int32Array(handle.memory);
  }

  static create(options: { readonly hal?: Hal } = {}): PerCpuData {
    const hal = options.hal ?? soloHal();
    const memory = new SharedArrayBuffer(hal.possibleCpus * PADDING_BYTES);
    return new PerCpuData({ possibleCpus: hal.possibleCpus, memory }, hal);
  }

  static attach(handle: PerCpuDataHandle, options: { readonly hal: Hal }): PerCpuData {
    return new PerCpuData(handle, options.hal);
  }

  /** The whole preempt word of `cpu` (default: the calling one). */
  preemptWord(cpu: CpuId = this.#hal.currentCpu()): number {
    return this.#words[cpu * STRIDE_WORDS + PREEMPT_WORD];
  }

  /** Depth of `preemptDisable` on `cpu`, 0 to 255. */
  preemptCount(cpu: CpuId = this.#hal.currentCpu()): number {
    return this.preemptWord(cpu) & PREEMPT_MASK;
  }

  /** In a hardware interrupt, softirq or NMI. */
  inInterrupt(cpu: CpuId = this.#hal.currentCpu()): boolean {
    return (this.preemptWord(cpu) & (HARDIRQ_MASK | SOFTIRQ_MASK | NMI_MASK)) !== 0;
  }

  /** Neither nested in a preempt-disabled section nor in an interrupt. */
  preemptible(cpu: CpuId = this.#hal.currentCpu()): boolean {
    return this.preemptWord(cpu) === 0;
  }

  preemptDisable(): void {
    this.#enter(PREEMPT_ONE, PREEMPT_MASK, "preempt");
  }

  /** Returns the word that is left: 0 when the CPU became preemptible. */
  preemptEnable(): number {
    return this.#leave(PREEMPT_ONE, PREEMPT_MASK, "preempt");
  }

  enterSoftirq(): void {
    this.#enter(SOFTIRQ_ONE, SOFTIRQ_MASK, "softirq");
  }

  leaveSoftirq(): number {
    return this.#leave(SOFTIRQ_ONE, SOFTIRQ_MASK, "softirq");
  }

  enterHardirq(): void {
    this.#enter(HARDIRQ_ONE, HARDIRQ_MASK, "hardirq");
  }

  leaveHardirq(): number {
    return this.#leave(HARDIRQ_ONE, HARDIRQ_MASK, "hardirq");
  }

  enterNmi(): void {
    this.#enter(NMI_ONE, NMI_MASK, "nmi");
  }

  leaveNmi(): number {
    return this.#leave(NMI_ONE, NMI_MASK, "nmi");
  }

  /** Ask `cpu` to reschedule. Returns whether it was not already asked. */
  setNeedResched(cpu: CpuId = this.#hal.currentCpu()): boolean {
    return Atomics.exchange(this.#words, cpu * STRIDE_WORDS + NEED_RESCHED_WORD, 1) === 0;
  }

  clearNeedResched(): void {
    Atomics.store(this.#words, this.#hal.currentCpu() * STRIDE_WORDS + NEED_RESCHED_WORD, 0);
  }

  needResched(cpu: CpuId = this.#hal.currentCpu()): boolean {
    return Atomics.load(this.#words, cpu * STRIDE_WORDS + NEED_RESCHED_WORD) === 1;
  }

  /** Task on `cpu`; 0 is the idle task. */
  currentTask(cpu: CpuId = this.#hal.currentCpu()): number {
    return this.#words[cpu * STRIDE_WORDS + CURRENT_TASK_WORD];
  }

  setCurrentTask(task: number): void {
    this.#words[this.#hal.currentCpu() * STRIDE_WORDS + CURRENT_TASK_WORD] = task;
  }

  /** Count a scheduler tick. */
  tick(idle: boolean): void {
    const base = this.#hal.currentCpu() * STRIDE_WORDS;
    this.#words[base + TOTAL_TICKS_WORD]++;
    if (idle) this.#words[base + IDLE_TICKS_WORD]++;
  }

  totalTicks(cpu: CpuId = this.#hal.currentCpu()): number {
    return this.#words[cpu * STRIDE_WORDS + TOTAL_TICKS_WORD] >>> 0;
  }

  idleTicks(cpu: CpuId = this.#hal.currentCpu()): number {
    return this.#words[cpu * STRIDE_WORDS + IDLE_TICKS_WORD] >>> 0;
  }

  #enter(one: number, mask: number, what: string): void {
    const index = this.#hal.currentCpu() * STRIDE_WORDS + PREEMPT_WORD;
    const word = this.#words[index];
    if ((word & mask) === mask) throw new SmpError("SMP_PREEMPT_OVERFLOW", `${what} nesting is at its limit`);
    this.#words[index] = word + one;
  }

  #leave(one: number, mask: number, what: string): number {
    const index = this.#hal.currentCpu() * STRIDE_WORDS + PREEMPT_WORD;
    const word = this.#words[index];
    if ((word & mask) === 0) throw new SmpError("SMP_PREEMPT_UNDERFLOW", `${what} left more often than entered`);
    return (this.#words[index] = word - one);
  }
}
