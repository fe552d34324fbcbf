import type { CpuId } from "@x/smp";

/** The software that runs on the machine: what the hardware calls, on the CPU it names. */
export interface Supervisor {
  /** The boot processor jumps to it. */
  start(): void;
  /** A processor received its start-up message and begins at `vector` × 4 KiB. */
  startProcessor(cpu: CpuId, vector: number): void;
  /** An interrupt was taken. */
  interrupt(cpu: CpuId, vector: number): void;
  /** Work the CPU asked for with `Machine.defer`. */
  work(cpu: CpuId): void;
  /** The compute phase that ran on the CPU is over. */
  phaseEnd(cpu: CpuId): void;
  /** The CPU is about to leave the supervisor: last chance for softirqs and rescheduling. */
  leave(cpu: CpuId): void;
  /** A timer of `Machine.startTimer` ran out on the CPU that started it. */
  timer(cpu: CpuId, id: number, argument: number): void;
}
