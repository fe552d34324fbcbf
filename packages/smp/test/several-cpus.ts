import type { CpuId, Hal, WaitResult } from "../src/index.ts";

/** Several CPUs played by one thread: set `cpu` and call. Time and kicks are the test's. */
export class SeveralCpus implements Hal {
  cpu: CpuId = 0;
  timeNs = 0;
  relaxed = 0;
  /** Called on every turn of a spin. */
  onRelax: () => void = () => undefined;
  readonly kicked: CpuId[] = [];
  readonly possibleCpus: number;

  constructor(possibleCpus: number) {
    this.possibleCpus = possibleCpus;
  }
  currentCpu(): CpuId {
    return this.cpu;
  }
  now(): number {
    return this.timeNs;
  }
  relax(): void {
    if (++this.relaxed > 1e6) throw new Error("a CPU spins for ever");
    this.onRelax();
  }
  kick(cpu: CpuId): void {
    this.kicked.push(cpu);
  }
  wait(): WaitResult {
    throw new Error("a CPU of this machine cannot wait");
  }
  wake(): number {
    return 0;
  }
  /** Run `action` as `cpu`. */
  on<T>(cpu: CpuId, action: () => T): T {
    const before = this.cpu;
    this.cpu = cpu;
    try {
      return action();
    } finally {
      this.cpu = before;
    }
  }
}
