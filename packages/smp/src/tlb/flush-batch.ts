import type { TlbShootdown } from "./shootdown.ts";

/**
 * Gathers what is to be forgotten of one space, and has it forgotten by one shootdown instead of many (Linux's `mmu_gather`): the
 * range from the first to the last item gathered, which beyond the shootdown's ceiling is all of the space. What was unmapped
 * must not be used for anything else before `flush` has returned.
 *
 * Thread-safety: none; it belongs to one CPU, and may be used again after each flush.
 *
 * @public
 */
export class TlbFlushBatch {
  readonly space: number;
  readonly #shootdown: TlbShootdown;
  #first = Infinity;
  #end = 0;
  /** The smallest stride gathered. */
  #stride = Infinity;

  constructor(shootdown: TlbShootdown, space: number) {
    this.#shootdown = shootdown;
    this.space = space;
  }

  get isEmpty(): boolean {
    return this.#end <= this.#first;
  }

  /** Gather `count` items from `first` on, `stride` apart; the count includes those between. */
  add(first: number, count = 1, stride = 1): this {
    this.#first = Math.min(this.#first, first);
    this.#end = Math.max(this.#end, first + count);
    this.#stride = Math.min(this.#stride, stride);
    return this;
  }

  /** Begin: see {@link TlbShootdown.start}. 0, and nothing done, where nothing was gathered. */
  start(): number {
    if (this.isEmpty) return 0;
    const ticket = this.#shootdown.start(this.space, this.#first, this.#end - this.#first, this.#stride);
    this.#first = this.#stride = Infinity;
    this.#end = 0;
    return ticket;
  }

  /** Have all that was gathered forgotten on every CPU, and return when it is. */
  flush(): void {
    const ticket = this.start();
    this.#shootdown.wait(ticket);
    this.#shootdown.finish(ticket);
  }

  /** As {@link TlbFlushBatch.flush}, while the event loop goes on. What is added meanwhile is of the next flush. */
  async flushAsync(): Promise<void> {
    return this.#shootdown.finishAsync(this.start());
  }
}
