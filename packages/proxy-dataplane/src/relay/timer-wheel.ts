/** Slots of the wheel: a deadline further away goes round more than once. */
const SLOTS = 1024;

/** Something with a deadline. The fields belong to the wheel. */
export abstract class Timed {
  /** Tick at which it is due; 0: it has no deadline. */
  dueTick = 0;
  timedNext: Timed | undefined = undefined;
  timedPrevious: Timed | undefined = undefined;
  /** The deadline has come; it has none any more. */
  abstract onDeadline(): void;
}

/**
 * Deadlines of many things, coarse and cheap: setting and clearing are a few stores, and nothing is allocated.
 *
 *     slot   0    1    2  …  1023
 *            │    │
 *            a⇄b  c⇄d        due in that tick of this round, or of a later one
 */
export class TimerWheel {
  readonly tickMs: number;
  readonly #slots: (Timed | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  #tick = 1;
  #count = 0;

  constructor(tickMs: number) {
    this.tickMs = tickMs;
  }

  /** How many have a deadline. */
  get size(): number {
    return this.#count;
  }

  /** Give `timed` a deadline `delayMs` from now, in place of any other; at least one tick passes. */
  set(timed: Timed, delayMs: number): void {
    this.clear(timed);
    timed.dueTick = this.#tick + Math.max(1, Math.ceil(delayMs / this.tickMs));
    const slot = timed.dueTick & (SLOTS - 1);
    const head = this.#slots[slot];
    timed.timedNext = head;
    if (head !== undefined) head.timedPrevious = timed;
    this.#slots[slot] = timed;
    this.#count++;
  }

  clear(timed: Timed): void {
    if (timed.dueTick === 0) return;
    const { timedNext: next, timedPrevious: previous } = timed;
    if (next !== undefined) next.timedPrevious = previous;
    if (previous !== undefined) previous.timedNext = next;
    else this.#slots[timed.dueTick & (SLOTS - 1)] = next;
    timed.timedNext = timed.timedPrevious = undefined;
    timed.dueTick = 0;
    this.#count--;
  }

  /** One tick has passed: call those that are due. */
  advance(): void {
    this.#tick++;
    const due: Timed[] = [];
    for (let each = this.#slots[this.#tick & (SLOTS - 1)]; each !== undefined; each = each.timedNext) {
      if (each.dueTick <= this.#tick) due.push(each);
    }
    for (const each of due) {
      // One that came earlier may have cleared or moved it.
      if (each.dueTick === 0 || each.dueTick > this.#tick) continue;
      this.clear(each);
      each.onDeadline();
    }
  }
}
