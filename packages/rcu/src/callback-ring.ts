/**
 * What runs after a grace period. A function reference and one number, so that queueing allocates nothing: keep the
 * function for ever and pass the offset or id it works on.
 *
 * @public
 */
export type RcuCallback = (argument: number) => void;

/**
 * Where memory goes that was freed by {@link Rcu.free}: a `KmemCache` of `@x/slab`, or anything of its shape.
 *
 * @public
 */
export interface RcuFreeTarget {
  free(offset: number): void;
  /** Takes `offsets[0..count-1]` at once; the array is used again. Without it each goes to `free`. */
  freeBulk?(offsets: Int32Array, count: number): void;
}

/** What is done with an argument when its time has come. */
export type RcuWork = RcuCallback | RcuFreeTarget;

const idle: RcuCallback = () => undefined;

/*
 * Bounded first-in first-out ring of (work, argument, sequence), of one CPU and one thread:
 *
 *      head                 head + count
 *       v                      v
 *   ....[oldest ... ... newest]....      sequences never decrease from head to tail
 *
 * All arrays are made at creation and hold every slot, so queueing and running allocate nothing.
 */
export class CallbackRing {
  readonly #works: RcuWork[];
  readonly #arguments: Float64Array;
  readonly #sequences: Int32Array;
  readonly #mask: number;
  /** Debug mode: where each was queued. */
  readonly #sites: string[] | undefined;
  #head = 0;
  count = 0;
  /** Set while callbacks of this ring run: they must not run callbacks themselves. */
  running = false;

  constructor(capacity: number, debug: boolean) {
    this.#works = Array.from({ length: capacity }, () => idle);
    this.#arguments = new Float64Array(capacity);
    this.#sequences = new Int32Array(capacity);
    this.#mask = capacity - 1;
    this.#sites = debug ? Array.from({ length: capacity }, () => "") : undefined;
  }

  get full(): boolean {
    return this.count > this.#mask;
  }

  push(work: RcuWork, argument: number, sequence: number, site: string | undefined): void {
    const slot = (this.#head + this.count) & this.#mask;
    this.#works[slot] = work;
    this.#arguments[slot] = argument;
    this.#sequences[slot] = sequence;
    if (this.#sites !== undefined) this.#sites[slot] = site ?? "";
    this.count++;
  }

  /** The sequence the oldest waits for; only while `count` is not 0. */
  oldest(): number {
    return this.#sequences[this.#head];
  }

  /** The sequence the newest waits for; only while `count` is not 0. */
  newest(): number {
    return this.#sequences[(this.#head + this.count - 1) & this.#mask];
  }

  /** What is to be done with the oldest; only while `count` is not 0. */
  oldestWork(): RcuWork {
    return this.#works[this.#head];
  }

  /** Where the oldest was queued, in debug mode. */
  oldestSite(): string | undefined {
    return this.#sites?.[this.#head];
  }

  /** Remove the oldest; returns its argument. */
  shift(): number {
    const slot = this.#head;
    this.#works[slot] = idle;
    this.#head = (slot + 1) & this.#mask;
    this.count--;
    return this.#arguments[slot];
  }
}
