/** Something to be called at a time. */
interface Due {
  readonly dueMs: number;
  readonly call: () => void;
}

/** Calls at times of the loop's clock. Few wait at once, so they lie in a sorted array, the next one last. */
export class Timers {
  readonly #waiting: Due[] = [];

  get size(): number {
    return this.#waiting.length;
  }

  /** When the next call is due; Infinity: none is. */
  get nextMs(): number {
    return this.#waiting.at(-1)?.dueMs ?? Infinity;
  }

  add(dueMs: number, call: () => void): Disposable {
    const due = { dueMs, call };
    let low = 0;
    let high = this.#waiting.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#waiting[middle].dueMs > dueMs) low = middle + 1;
      else high = middle;
    }
    this.#waiting.splice(low, 0, due);
    return { [Symbol.dispose]: () => this.#remove(due) };
  }

  /** Make the calls that are due. Returns whether there was any. */
  run(nowMs: number): boolean {
    let hasRun = false;
    while (this.nextMs <= nowMs) {
      hasRun = true;
      this.#waiting.pop()?.call();
    }
    return hasRun;
  }

  #remove(due: Due): void {
    const at = this.#waiting.indexOf(due);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}
