import type { Hal } from "../hal.ts";

/**
 * How often to look before sleeping, learnt from sleep to sleep. A sleep shorter than what it costs to sleep and be woken
 * would have been better spent looking (Karlin et al., "Empirical Studies of Competitive Spinning", SOSP 1991). A turn is a
 * load, some 10 ns; so looking lasts up to 80 µs, which is what waking a thread of a virtual machine takes.
 *
 * Where looking never helps though sleeps are short, the other thread waits for this one's core: then there is none for a while,
 * and for longer each time that is found again.
 */
const MAX_TURNS = 8192;
const FIRST_TURNS = 64;
/** Above it, long sleeps count, though looking has found something. */
const MOST_KEPT = 512;
const SHORT_SLEEP_NS = 100_000;
const MOST_IN_VAIN = 4;
const FIRST_REST = 64;
const LONGEST_REST = 4096;
/** A machine's `relax` may sleep by itself after many turns; it is not told of so many. */
const RELAX_TURNS = 64;
/** Turns without a pause for anything else. */
export const LOOKS = 16;

export class SpinBudget {
  /** How often to look next time. */
  turns = 0;
  readonly #hal: Hal;
  /** How often in a row looking for the longest time was in vain. */
  #inVain = 0;
  /** Sleeps before looking is tried again, now and the next time. */
  #rest = 0;
  #nextRest = FIRST_REST;

  constructor(hal: Hal) {
    this.#hal = hal;
  }

  relax(turn: number): void {
    this.#hal.relax(turn % RELAX_TURNS);
  }

  /** Looking found what was looked for, after so many turns: it shall find the like again, whatever long sleeps come between. */
  found(turn: number): void {
    this.#inVain = 0;
    this.#nextRest = FIRST_REST;
    this.turns = Math.max(this.turns, Math.min(MOST_KEPT, 2 * turn + FIRST_TURNS));
  }

  /** Looking was in vain, and the sleep after it took so long. */
  slept(ns: number): void {
    if (this.#rest > 0) this.#rest--;
    else if (ns >= SHORT_SLEEP_NS) this.turns >>= 1;
    else if (this.turns < MAX_TURNS) this.turns = Math.min(MAX_TURNS, this.turns * 2 + FIRST_TURNS);
    else if (++this.#inVain >= MOST_IN_VAIN) {
      this.turns = 0;
      this.#inVain = 0;
      this.#rest = this.#nextRest;
      this.#nextRest = Math.min(LONGEST_REST, this.#nextRest * 2);
    }
  }
}
