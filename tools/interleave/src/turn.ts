import type { Board } from "./board.ts";

/*
 * The real Atomics, saved before they are instrumented. With a free core a hand-over by spinning costs a fraction of a
 * microsecond, one through the kernel twenty: so a thread spins before it sleeps, the longer the more often that helped
 * (on a busy host it never does), and says when it sleeps, so that nobody calls the kernel to wake a thread that is awake.
 */
const { load, store, wait, notify, exchange, compareExchange } = Atomics;
const SPINS_MAX = 4000;
const SPINS_MIN = 50;
/** Every so many waits a thread spins longest, to learn whether that helps again. */
const PROBE_INTERVAL = 16;
let spinLimit = SPINS_MAX;
let waits = 0;

const NOT_YET = 0;
const GO = 1;
const ASLEEP = -1;

/** Block the calling thread until it is `thread`'s turn. */
export function awaitTurn(board: Board, thread: number): void {
  const { turns } = board;
  const turn = board.turn(thread);
  const limit = ++waits % PROBE_INTERVAL === 0 ? SPINS_MAX : spinLimit;
  let spins = 0;
  while (spins < limit && load(turns, turn) !== GO) spins++;
  if (spins < limit) {
    spinLimit = Math.min(Math.max(spinLimit * 2, spins * 2), SPINS_MAX);
  } else {
    spinLimit = Math.max(spinLimit >> 1, SPINS_MIN);
    compareExchange(turns, turn, NOT_YET, ASLEEP);
    while (load(turns, turn) !== GO) wait(turns, turn, ASLEEP);
  }
  store(turns, turn, NOT_YET);
}

/** Give the turn to `thread`. The caller must touch nothing of the board afterwards. */
export function giveTurn(board: Board, thread: number): void {
  const turn = board.turn(thread);
  if (exchange(board.turns, turn, GO) === ASLEEP) notify(board.turns, turn, 1);
}
