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

/** What `Atomics.waitAsync` gives (ES2024, present in Node.js since 16). */
type WaitAsync = (
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
) => { readonly async: boolean; readonly value: WaitResult | Promise<WaitResult> };

/** Longest delay of a timer. */
const KEEP_ALIVE_MS = 2 ** 31 - 1;
let waiting = 0;
let keepAlive: ReturnType<typeof setInterval> | undefined;

/** An event loop with nothing else to do would end, because waiting for shared memory does not keep it alive; a timer does. */
export async function keepingAlive<T>(woken: Promise<T>): Promise<T> {
  if (waiting++ === 0) keepAlive = setInterval(() => undefined, KEEP_ALIVE_MS);
  try {
    return await woken;
  } finally {
    if (--waiting === 0) clearInterval(keepAlive);
  }
}

/**
 * Settles when the word is notified or the time is over, while the event loop goes on and does not end; undefined if there is
 * nothing to wait for. Throws `SMP_CANNOT_BLOCK` where the engine has no `Atomics.waitAsync`.
 */
export function waitAsyncOn(
  words: Int32Array,
  index: number,
  expected: number,
  timeoutNs: number,
): Promise<WaitResult> | undefined {
  const { waitAsync } = Atomics as unknown as { waitAsync?: WaitAsync };
  if (waitAsync === undefined) throw new SmpError("SMP_CANNOT_BLOCK", "this engine has no Atomics.waitAsync");
  const { async, value } = waitAsync(words, index, expected, timeoutNs / 1e6);
  return async ? keepingAlive(value as Promise<WaitResult>) : undefined;
}
