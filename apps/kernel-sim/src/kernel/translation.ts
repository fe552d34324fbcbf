import { LatencyHistogram } from "@x/profiling";
import { PageSize, Tlb, TlbContexts, TlbShootdown, type CpuId, type Hal, type IpiMailbox } from "@x/smp";
import type { Machine } from "../machine/machine.ts";

/** Small pages in a page of the direct map, which lies above all address spaces of threads. */
const DIRECT_MAP_UNITS = 2 ** 18;
const DIRECT_MAP_BASE = 2 ** 35;
/** Where each thread's pages begin, this far apart. */
export const THREAD_PAGES = 4096;
const NO_SPACE = -1;

export interface TranslationOptions {
  readonly machine: Machine;
  readonly hal: Hal;
  readonly mailbox: IpiMailbox;
  /** Address spaces there are: one for each group of threads. */
  readonly spaces: number;
}

/**
 * What CPUs remember of page tables, and that they forget it in time. The kernel's direct map of memory is global pages of 1 GiB;
 * threads have pages of 4 KiB in the address space of their group. An idle CPU is lazy: it keeps the space it had, and is not
 * interrupted for it.
 */
export class Translation {
  readonly shootdown: TlbShootdown;
  /** From the start of a shootdown to its end on the CPU that made it. */
  readonly latency: LatencyHistogram;
  /** Time that CPUs spent on translations the first level of their TLB did not have. */
  readonly walkNs: Float64Array;
  readonly #machine: Machine;
  readonly #contexts: readonly TlbContexts[];

  constructor(options: TranslationOptions) {
    const { machine, hal, mailbox, spaces } = options;
    this.#machine = machine;
    this.#contexts = Array.from(
      { length: machine.cpuCount },
      () => new TlbContexts(new Tlb({ instruction: undefined })),
    );
    this.walkNs = new Float64Array(machine.cpuCount);
    this.latency = LatencyHistogram.create({ hal });
    this.shootdown = TlbShootdown.create({
      hal,
      mailbox,
      spaces: Math.max(1, spaces),
      flush: (space, first, count, stride) => this.#flush(space, first, count, stride),
    });
    machine.onTranslate = (cpu, page) => this.#translateDirect(cpu, page);
  }

  /** TLB misses of a CPU: page walks. */
  misses(cpu: CpuId): number {
    return this.#contexts[cpu].tlb.misses;
  }

  /** The executing CPU runs a thread of this space from now on; a negative one: it idles. */
  switchTo(space: number): void {
    const cpu = this.#machine.current;
    const { shootdown } = this;
    const contexts = this.#contexts[cpu];
    if (space < 0) {
      if (contexts.current !== NO_SPACE) shootdown.lazy();
      return;
    }
    if (contexts.current !== space) {
      if (contexts.current !== NO_SPACE) shootdown.leave(contexts.current);
      contexts.switchTo(space);
      shootdown.enter(space);
    }
    if (shootdown.isLazy(cpu)) shootdown.resume();
  }

  /** The executing CPU's thread works on its pages; returns the nanoseconds that translating them takes. */
  work(thread: number, pages: number): number {
    const cpu = this.#machine.current;
    const { tlb, tag } = this.#contexts[cpu];
    const { costs } = this.#machine;
    const misses = tlb.misses;
    const second = tlb.secondLevelHits;
    const first = thread * THREAD_PAGES;
    for (let page = first; page < first + pages; page++) {
      if (tlb.lookup(tag, page) < 0) tlb.insert(tag, page, page);
    }
    const ns = (tlb.misses - misses) * costs.pageWalkNs + (tlb.secondLevelHits - second) * costs.tlbSecondLevelNs;
    this.walkNs[cpu] += ns;
    return ns;
  }

  /** The executing CPU's thread unmaps pages; a ticket for {@link Translation.isOver}. */
  unmap(space: number, thread: number, pages: number): number {
    return this.shootdown.start(space, thread * THREAD_PAGES, pages);
  }

  /** Whether every CPU has forgotten the pages; then the ticket is void. */
  isOver(ticket: number, startNs: number): boolean {
    if (!this.shootdown.poll(ticket)) return false;
    this.shootdown.finish(ticket);
    this.latency.record(Math.round(this.#machine.timeNs[this.#machine.current] - startNs));
    return true;
  }

  /** The executing CPU loses its power, and with it all it remembers. */
  powerOff(): void {
    const { current, directMapPage } = this.#machine;
    this.#contexts[current].flush(NO_SPACE, 0, Infinity, 1);
    directMapPage[current] = -1;
  }

  #translateDirect(cpu: CpuId, directPage: number): number {
    const { tlb, tag } = this.#contexts[cpu];
    const { costs } = this.#machine;
    const page = DIRECT_MAP_BASE + directPage * DIRECT_MAP_UNITS;
    const second = tlb.secondLevelHits;
    if (tlb.lookup(tag, page) >= 0) return (tlb.secondLevelHits - second) * costs.tlbSecondLevelNs;
    tlb.insert(tag, page, directPage * DIRECT_MAP_UNITS, PageSize.Huge, true);
    this.walkNs[cpu] += costs.pageWalkNs;
    return costs.pageWalkNs;
  }

  #flush(space: number, first: number, count: number, stride: number): void {
    const machine = this.#machine;
    const { costs } = machine;
    machine.charge(count === Infinity ? costs.tlbFlushAllNs : Math.ceil(count / stride) * costs.tlbFlushPageNs);
    this.#contexts[machine.current].flush(space, first, count, stride);
    if (space === NO_SPACE) machine.directMapPage[machine.current] = -1;
  }
}
