import { SmpError } from "./errors.ts";
import type { CpuId, Hal } from "./hal.ts";
import { alignUp, PADDING_BYTES } from "./layout.ts";
import { soloHal } from "./solo-hal.ts";

/**
 * What joins {@link PerCpuCounters} from another thread.
 *
 * @public
 */
export interface PerCpuCountersHandle<Name extends string = string> {
  readonly names: readonly Name[];
  readonly possibleCpus: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * Named counters, one padded set per CPU: one writer each, any reader, summed on demand. Values are doubles, exact to
 * 2^53, so that no BigInt appears on a hot path.
 *
 * Thread-safety: `add` writes the calling CPU's set with plain stores; readers may see a value that is a moment old.
 * Cost: one plain load and store.
 *
 * @public
 */
export class PerCpuCounters<Name extends string = string> {
  readonly handle: PerCpuCountersHandle<Name>;
  readonly names: readonly Name[];
  readonly #hal: Hal;
  readonly #values: Float64Array;
  readonly #stride: number;
  readonly #slots: Map<string, number>;

  private constructor(handle: PerCpuCountersHandle<Name>, hal: Hal) {
    this.handle = handle;
    this.names = handle.names;
    this.#hal = hal;
    this.#values = new Float64Array(handle.memory);
    this.#stride = this.#values.length / handle.possibleCpus;
    this.#slots = new Map(handle.names.map((name, slot) => [name, slot]));
  }

  static create<const Name extends string>(options: {
    readonly names: readonly Name[];
    readonly hal?: Hal;
  }): PerCpuCounters<Name> {
    const hal = options.hal ?? soloHal();
    if (options.names.length === 0 || new Set(options.names).size !== options.names.length) {
      throw new SmpError("SMP_INVALID_ARGUMENT", "counter names must be distinct and at least one");
    }
    const stride = alignUp(options.names.length * 8, PADDING_BYTES);
    const memory = new SharedArrayBuffer(hal.possibleCpus * stride);
    return new PerCpuCounters({ names: [...options.names], possibleCpus: hal.possibleCpus, memory }, hal);
  }

  static attach<Name extends string>(
    handle: PerCpuCountersHandle<Name>,
    options: { readonly hal: Hal },
  ): PerCpuCounters<Name> {
    return new PerCpuCounters(handle, options.hal);
  }

  /** The slot of a name, for {@link PerCpuCounters.add}. Look it up once, outside the hot path. */
  slot(name: Name): number {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw new SmpError("SMP_INVALID_ARGUMENT", `no counter is named ${name}`);
    return slot;
  }

  /** Add to a slot of the calling CPU. */
  add(slot: number, amount: number): void {
    this.#values[this.#hal.currentCpu() * this.#stride + slot] += amount;
  }

  /** Add to a slot of `cpu`, which must be the CPU that runs: saves the look-up where the caller knows it. */
  addOn(cpu: CpuId, slot: number, amount: number): void {
    this.#values[cpu * this.#stride + slot] += amount;
  }

  read(cpu: CpuId, slot: number): number {
    return this.#values[cpu * this.#stride + slot];
  }

  /** Sum over all CPUs. */
  sum(slot: number): number {
    let total = 0;
    for (let at = slot; at < this.#values.length; at += this.#stride) total += this.#values[at];
    return total;
  }

  /** All values of one CPU by name, or the sums over all CPUs. For reports. */
  snapshot(cpu?: CpuId): Record<Name, number> {
    const entries = this.names.map((name, slot) => [name, cpu === undefined ? this.sum(slot) : this.read(cpu, slot)]);
    return Object.fromEntries(entries) as Record<Name, number>;
  }

  /** Set everything to 0. Only while no CPU counts. */
  reset(): void {
    this.#values.fill(0);
  }
}
