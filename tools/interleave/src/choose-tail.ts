import { type Board, State, Tail, Word } from "./board.ts";

/** Who goes on after the prefix, among the threads of bit mask `awake` (not empty). */
export function chooseTail(board: Board, step: number, awake: number): number {
  switch (board.words[Word.Tail]) {
    case Tail.Random:
      return chooseRandom(board, awake);
    case Tail.Priority:
      return choosePriority(board, step, awake);
    default:
      return chooseStay(board, awake);
  }
}

/** The same thread as long as it can, then the next one in turn: no preemption. */
function chooseStay(board: Board, awake: number): number {
  const last = Math.max(board.words[Word.LastThread], 0);
  for (let turn = 0; turn < board.threads; turn++) {
    const thread = (last + turn) % board.threads;
    if ((awake & (1 << thread)) !== 0) return thread;
  }
  return -1;
}

function chooseRandom(board: Board, awake: number): number {
  let count = 0;
  for (let thread = 0; thread < board.threads; thread++) count += (awake >> thread) & 1;
  let skip = nextRandom(board) % count;
  for (let thread = 0; ; thread++) {
    if ((awake & (1 << thread)) === 0) continue;
    if (skip-- === 0) return thread;
  }
}

/**
 * Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs
 * (ASPLOS 2010): the highest priority runs; at each change point the running thread drops below everybody.
 */
function choosePriority(board: Board, step: number, awake: number): number {
  for (let point = 0; point < board.words[Word.ChangePoints]; point++) {
    if (board.changePoints[point] !== step) continue;
    board.setState(board.words[Word.LastThread], State.Priority, --board.words[Word.NextPriority]);
  }
  let best = -1;
  for (let thread = 0; thread < board.threads; thread++) {
    if ((awake & (1 << thread)) === 0) continue;
    if (best < 0 || board.state(thread, State.Priority) > board.state(best, State.Priority)) best = thread;
  }
  return best;
}

/** xorshift32 (Marsaglia 2003); never 0. */
export function xorshift(state: number): number {
  let next = state === 0 ? 0x9e3779b9 : state;
  next ^= next << 13;
  next ^= next >>> 17;
  next ^= next << 5;
  return next;
}

function nextRandom(board: Board): number {
  board.words[Word.RandomState] = xorshift(board.words[Word.RandomState]);
  return board.words[Word.RandomState] >>> 0;
}
