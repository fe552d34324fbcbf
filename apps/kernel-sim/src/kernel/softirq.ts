import type { CpuId } from "@x/smp";

/** Softirqs in Linux's order (include/linux/interrupt.h); those that this kernel raises. */
export const Softirq = { Timer: 1, NetReceive: 3, Scheduler: 7, Rcu: 9 } as const;
export type Softirq = (typeof Softirq)[keyof typeof Softirq];

/** Pending softirqs of each CPU, one bit each, raised and run by its CPU alone. */
export class Softirqs {
  readonly #pending: Int32Array;

  constructor(cpus: number) {
    this.#pending = new Int32Array(cpus);
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
      handle(softirq, cpu);
    }
  }
}
