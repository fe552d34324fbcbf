import { type Board, LOG_WORDS, Outcome, State, Word } from "./board.ts";

/** What a strategy wants tried next. */
export interface Plan {
  /** Threads to follow, `length` of them. */
  readonly prefix: Uint8Array;
  readonly length: number;
  /** Threads asleep at the last step of the prefix. */
  readonly sleep: number;
  /** One of `Tail`: who goes on afterwards. */
  readonly tail: number;
  /** So many steps of the prefix must do what they did in the execution before. */
  readonly known?: number;
  readonly seed?: number;
  readonly priorities?: readonly number[];
  readonly changePoints?: readonly number[];
}

/** One execution, as it lies on the board until the next one begins. */
export class Execution {
  readonly board: Board;

  constructor(board: Board) {
    this.board = board;
  }

  get outcome(): number {
    return this.board.words[Word.Outcome];
  }

  get steps(): number {
    return this.board.words[Word.Steps];
  }

  get preemptions(): number {
    return this.board.words[Word.Preemptions];
  }

  get logLength(): number {
    return this.board.words[Word.LogLength];
  }

  get threads(): number {
    return this.board.threads;
  }

  /** Word `field` of log entry `entry`: 0 operation, thread and flags; 1 address; 2 bytes; 3 step; 4 cause. */
  log(entry: number, field: number): number {
    return this.board.log[entry * LOG_WORDS + field];
  }

  operation(entry: number): number {
    return this.log(entry, 0) & 0xff;
  }

  thread(entry: number): number {
    return (this.log(entry, 0) >> 8) & 0xff;
  }

  flags(entry: number): number {
    return this.log(entry, 0) >> 16;
  }

  /** Thread of each step. */
  schedule(): number[] {
    return Array.from(this.board.chosen.subarray(0, this.steps));
  }

  /** What the threads returned. */
  results(): unknown[] {
    const results: unknown[] = [];
    for (let thread = 0; thread < this.threads; thread++) {
      const end = this.board.state(thread, State.ResultLength);
      const start = this.board.state(thread, State.ResultStart);
      results.push(end === 0 || start < 0 ? undefined : JSON.parse(this.board.readText(start, end)));
    }
    return results;
  }

  /** The JSON text of what went wrong. */
  failureText(): string {
    const start = this.board.words[Word.FailureStart];
    return this.board.readText(start, start + this.board.words[Word.FailureLength]);
  }

  get isComplete(): boolean {
    return this.outcome === Outcome.Done;
  }
}
