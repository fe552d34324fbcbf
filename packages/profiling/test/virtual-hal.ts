import { type Hal, soloHal, type WaitResult } from "@x/smp";

/** Several CPUs on one thread: `cpu` says which one runs, `nowNs` what time it is. */
export class TestHal implements Hal {
  readonly possibleCpus: number;
  cpu = 0;
  nowNs = 0;

  constructor(possibleCpus: number) {
    this.possibleCpus = possibleCpus;
  }
  currentCpu(): number {
    return this.cpu;
  }
  now(): number {
    return this.nowNs;
  }
  relax(): void {
    this.nowNs += 1000;
  }
  kick(): void {}
  wait(words: Int32Array, index: number, expected: number, timeoutNs: number): WaitResult {
    return soloHal().wait(words, index, expected, timeoutNs);
  }
  wake(): number {
    return 0;
  }
}
