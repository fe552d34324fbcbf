import type { CpuId } from "@x/smp";

/** Softirqs in Linux's order (include/linux/interrupt.h); those that this kernel raises. */
export const Softirq = { Timer: 1, NetReceive: 3, Scheduler: 7, Rcu: 9 } as const;
export type Softirq = (typeof Softirq)[keyof typeof Softirq];

const COUNT = 10;

/** Pending softirqs of each CPU, and how often each ran. One bit each, raised and run by its CPU alone. */
export class Softirqs {
  readonly #pending: Int32Array;
  readonly #runs: Float64Array;

  constructor(cpus: number) {
    this.#pending = new Int32Array(cpus);
    this.#runs = new Float64Array(cpus * COUNT);
  }

  raise(cpu: CpuId, softirq: Softirq): void {
    this.#pending[cpu] |= 1 << softirq;
  }

  isPending(cpu: CpuId): boolean {
    return this.#pending[cpu] !== 0;
  }

  /** Run everything pending on `cpu`, lowest number first, until nothing is. */
  run(cpu: CpuId, handle: (softirq: Softirq, cpu: CpuId) => void): void {
    for (let pending = this.#pending[cpu]; pending !== 0; pending = this.#pending[cpu]) {
      const softirq = (31 - Math.clz32(pending & -pending)) as Softirq;
      this.#pending[cpu] &= ~(1 << softirq);
      this.#runs[cpu * COUNT + softirq]++;
      handle(softirq, cpu);
    }
  }

  /** How often `softirq` ran on `cpu`. */
  runs(cpu: CpuId, softirq: Softirq): number {
    return this.#runs[cpu * COUNT + softirq];
  }
}
