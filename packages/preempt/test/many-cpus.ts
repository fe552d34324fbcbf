import type { Hal, WaitResult } from "@x/smp";

/** Several CPUs played by one thread: set `cpu`, then act as that CPU. The clock moves only when told to. */
export class ManyCpus implements Hal {
  cpu = 0;
  timeNs = 0;
  readonly kicked: number[] = [];
  readonly possibleCpus: number;

  constructor(possibleCpus: number) {
    this.possibleCpus = possibleCpus;
  }
  currentCpu(): number {
    return this.cpu;
  }
  now(): number {
    return this.timeNs;
  }
  relax(): void {
    throw new Error("spinning cannot end: nobody else runs");
  }
  kick(cpu: number): void {
    this.kicked.push(cpu);
  }
  wait(): WaitResult {
    throw new Error("sleeping in atomic context");
  }
  wake(): number {
    return 0;
  }
  on<T>(cpu: number, act: () => T): T {
    const before = this.cpu;
    this.cpu = cpu;
    try {
      return act();
    } finally {
      this.cpu = before;
    }
  }
}
