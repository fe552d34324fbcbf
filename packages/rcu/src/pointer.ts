/**
 * Publish: what was written before is visible to whoever finds `value` by {@link rcuDereference}.
 *
 * @public
 */
export function rcuAssign(words: Int32Array, index: number, value: number): void {
  Atomics.store(words, index, value);
}

/**
 * Fetch a published offset. A plain load would carry no ordering in JavaScript's memory model; this one does.
 *
 * @public
 */
export function rcuDereference(words: Int32Array, index: number): number {
  return Atomics.load(words, index);
}
