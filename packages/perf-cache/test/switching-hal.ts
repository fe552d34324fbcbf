import { soloHal } from "@x/smp";
import type { Hal } from "@x/smp";

/** Several CPUs played by one thread: set `cpu` to say which one runs. */
export class SwitchingHal implements Hal {
  readonly possibleCpus: number;
  cpu = 0;

  constructor(possibleCpus: number) {
    this.possibleCpus = possibleCpus;
  }

  currentCpu(): number {
    return this.cpu;
  }
  now(): number {
    return soloHal().now();
  }
  relax(spins: number): void {
    if (spins > 1000) throw new Error("a CPU spins although no other can run");
  }
  kick(): void {}
  wait(words: Int32Array, index: number, expected: number, timeoutNs: number): "ok" | "not-equal" | "timed-out" {
    return soloHal().wait(words, index, expected, timeoutNs);
  }
  wake(): number {
    return 0;
  }
}
