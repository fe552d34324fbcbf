import type { Board } from "./board.ts";

/*
 * The real Atomics, saved before they are instrumented. With a free core a hand-over by spinning costs a fraction of a
 * microsecond, one through the kernel twenty: so a thread spins shortly before it sleeps.
 */
const { load, store, wait, notify } = Atomics;
const SPINS = 2000;

/** Block the calling thread until it is `thread`'s turn. */
export function awaitTurn(board: Board, thread: number): void {
  const turn = board.turn(thread);
  for (let spins = 0; spins < SPINS; spins++) {
    if (load(board.turns, turn) === 1) break;
  }
  while (load(board.turns, turn) !== 1) wait(board.turns, turn, 0);
  store(board.turns, turn, 0);
}

/** Give the turn to `thread`. The caller must touch nothing of the board afterwards. */
export function giveTurn(board: Board, thread: number): void {
  const turn = board.turn(thread);
  store(board.turns, turn, 1);
  notify(board.turns, turn, 1);
}
