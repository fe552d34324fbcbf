import { CpuMask, MAX_CPUS, type CpuId } from "@x/smp";
import { PreemptError } from "./errors.ts";

/**
 * The four strict priority levels; a higher number goes first.
 *
 * @public
 */
export const Priority: { readonly Low: 0; readonly Normal: 1; readonly High: 2; readonly Critical: 3 } = {
  Low: 0,
  Normal: 1,
  High: 2,
  Critical: 3,
};

/**
 * A value of the table {@link (Priority:variable)}.
 *
 * @public
 */
export type Priority = 0 | 1 | 2 | 3;

/**
 * What a thread is made with. Immutable: each `with…` returns another object. Without an affinity the thread may run on
 * every CPU, however many there are.
 *
 * @public
 */
export class ThreadAttributes {
  readonly priority: Priority;
  /** Sorted, without repeats; undefined: every CPU. */
  readonly cpus: readonly CpuId[] | undefined;
  readonly #allowed: CpuMask | undefined;

  /** Normal priority and every CPU, unless told otherwise; the arguments are those of the `with…` methods. */
  constructor(priority: Priority = 1, affinity?: Iterable<CpuId> | number | bigint) {
    assertPriority(priority);
    this.priority = priority;
    this.#allowed = affinity === undefined ? undefined : allowedCpus(affinity);
    this.cpus = this.#allowed === undefined ? undefined : Object.freeze([...this.#allowed]);
  }

  /** Normal priority, every CPU. */
  static default(): ThreadAttributes {
    return new ThreadAttributes();
  }

  /** May run on `cpu` alone; replaces any affinity there was. */
  withCpuAffinity(cpu: CpuId): ThreadAttributes {
    return this.withAffinityMask([cpu]);
  }

  /**
   * May run on these CPUs; replaces any affinity there was. A `CpuMask`, a list, or the bits of a number from 1 to 2^32 - 1
   * (bit 0 is CPU 0) or of a bigint. Throws `PREEMPT_EMPTY_AFFINITY` for none and `PREEMPT_INVALID_ARGUMENT` outside 0 to 4095.
   */
  withAffinityMask(mask: Iterable<CpuId> | number | bigint): ThreadAttributes {
    return new ThreadAttributes(this.priority, mask);
  }

  /** May run on every CPU. */
  withoutAffinity(): ThreadAttributes {
    return new ThreadAttributes(this.priority);
  }

  /** Another priority, the same affinity. Throws `PREEMPT_INVALID_ARGUMENT`. */
  withPriority(priority: Priority): ThreadAttributes {
    return new ThreadAttributes(priority, this.cpus);
  }

  /** Whether the affinity allows `cpu`; false for what is no CPU number. */
  canRunOnCpu(cpu: CpuId): boolean {
    if (!Number.isInteger(cpu) || cpu < 0) return false;
    return this.#allowed === undefined || this.#allowed.has(cpu);
  }
}

export function assertPriority(priority: number): void {
  if (Number.isInteger(priority) && priority >= 0 && priority <= 3) return;
  throw new PreemptError("PREEMPT_INVALID_ARGUMENT", `priority ${priority} is not one of 0 to 3`);
}

function allowedCpus(affinity: Iterable<CpuId> | number | bigint): CpuMask {
  const allowed = new CpuMask(MAX_CPUS);
  for (const cpu of typeof affinity === "object" ? affinity : bitsOf(affinity)) {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= MAX_CPUS) {
      throw new PreemptError("PREEMPT_INVALID_ARGUMENT", `CPU ${cpu} is not one of 0 to ${MAX_CPUS - 1}`);
    }
    allowed.add(cpu);
  }
  if (allowed.isEmpty()) throw new PreemptError("PREEMPT_EMPTY_AFFINITY", "an affinity of no CPU would never run");
  return allowed;
}

function* bitsOf(mask: number | bigint): Iterable<CpuId> {
  if (typeof mask === "number" && (!Number.isInteger(mask) || mask < 0 || mask > 0xffffffff)) {
    throw new PreemptError(
      "PREEMPT_INVALID_ARGUMENT",
      `${mask} is no mask of 32 bits; use a bigint, a list or a CpuMask`,
    );
  }
  let rest = BigInt(mask);
  if (rest < 0n) throw new PreemptError("PREEMPT_INVALID_ARGUMENT", "a negative mask names no set of CPUs");
  for (let cpu = 0; rest !== 0n; cpu++, rest >>= 1n) if ((rest & 1n) !== 0n) yield cpu;
}
