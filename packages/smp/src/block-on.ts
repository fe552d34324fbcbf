import { SmpError } from "./errors.ts";
import type { WaitResult } from "./hal.ts";

/** `Atomics.wait` with nanoseconds and a typed error where the thread cannot block. */
export function blockOn(words: Int32Array, index: number, expected: number, timeoutNs: number): WaitResult {
  try {
    return Atomics.wait(words, index, expected, timeoutNs / 1e6);
  } catch (cause) {
    throw new SmpError(
      "SMP_CANNOT_BLOCK",
      "this thread cannot block; use the asynchronous form of the operation",
      {},
      { cause },
    );
  }
}
