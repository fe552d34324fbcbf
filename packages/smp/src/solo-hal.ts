import { blockOn } from "./block-on.ts";
import { SmpError } from "./errors.ts";
import type { Hal, WaitResult } from "./hal.ts";

class SoloHal implements Hal {
  readonly possibleCpus = 1;
  currentCpu(): number {
    return 0;
  }
  now(): number {
    return performance.now() * 1e6;
  }
  relax(_spins: number): void {
    // One CPU: nobody else can change what is awaited, and `wait` reports that as a deadlock.
  }
  kick(_cpu: number): void {
    // The only CPU is the one that calls.
  }
  wait(words: Int32Array, index: number, expected: number, timeoutNs: number): WaitResult {
    if (Atomics.load(words, index) !== expected) return "not-equal";
    if (timeoutNs === Infinity) {
      throw new SmpError("SMP_WOULD_DEADLOCK", "a lone CPU waits for ever for a word that nobody else can change");
    }
    return blockOn(words, index, expected, timeoutNs);
  }
  wake(words: Int32Array, index: number, count: number): number {
    return Atomics.notify(words, index, count);
  }
}

const shared: Hal = new SoloHal();

/**
 * The machine with one CPU: the default `hal` of every package. Waiting for ever throws `SMP_WOULD_DEADLOCK`.
 *
 * @public
 */
export function soloHal(): Hal {
  return shared;
}
