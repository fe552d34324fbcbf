/** Numbers for the words (or bytes) that executions touch, small and dense, the same in every execution. */
export class Cells {
  readonly #ids = new Map<number, number>();

  get count(): number {
    return this.#ids.size;
  }

  /** The number of the cell at `key`, made when it is new. */
  id(key: number): number {
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#ids.size;
      this.#ids.set(key, id);
    }
    return id;
  }
}
