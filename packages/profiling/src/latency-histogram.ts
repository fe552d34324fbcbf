import { type CpuId, type Hal, soloHal } from "@x/smp";
import { ProfilingError, requireInteger } from "./errors.ts";
import { paddedWords } from "./layout.ts";

/*
 * Log-linear buckets: every octave [2^e, 2^(e+1)) is cut into S = 2^b equal sub-buckets, and values below S have one bucket each
 * (the layout of HdrHistogram, G. Tene):
 *
 *   bucket   0 … S-1   S … 2S-1     2S … 3S-1         …
 *   values   0 … S-1   S … 2S-1     2S … 4S-1 by 2    …     2^53
 *
 * One block of doubles per CPU, written by that CPU alone with plain stores:
 *
 *   [ sum | smallest value, Infinity = none | largest value | clamped | bucket 0 | bucket 1 | … | padding ]
 */
const SUM = 0;
const MIN = 1;
const MAX = 2;
const CLAMPED = 3;
const BUCKETS = 4;

const LARGEST_EXPONENT = 53;
const LARGEST_VALUE = 2 ** LARGEST_EXPONENT;
const TWO_TO_32 = 2 ** 32;
const HIGH_SHIFT = 22;
const HIGH_UNIT = 2 ** HIGH_SHIFT;

const DEFAULT_SUB_BUCKET_BITS = 6;

/**
 * What joins a {@link LatencyHistogram} from another thread.
 *
 * @public
 */
export interface LatencyHistogramHandle {
  readonly possibleCpus: number;
  readonly subBucketBits: number;
  readonly memory: SharedArrayBuffer;
}

/**
 * The usual figures of a distribution, in nanoseconds; all 0 when nothing was recorded.
 *
 * @public
 */
export interface LatencySummary {
  readonly count: number;
  readonly minNs: number;
  readonly maxNs: number;
  readonly meanNs: number;
  readonly p50Ns: number;
  readonly p90Ns: number;
  readonly p99Ns: number;
  readonly p999Ns: number;
}

/**
 * A distribution of durations from 0 to 2^53 ns with constant relative error: at least 64 sub-buckets per octave, so that a
 * bucket is at most 1/64 (1.6 %) of its values wide. Each CPU records into its own block; reading merges the blocks.
 *
 * Thread-safety: `record` and `merge` write the calling CPU's block with plain stores; readers on other threads may be a moment
 * behind. Cost: `record` is a bit count, three loads and stores, no allocation.
 *
 * @public
 */
export class LatencyHistogram {
  readonly handle: LatencyHistogramHandle;
  readonly #hal: Hal;
  readonly #values: Float64Array;
  readonly #stride: number;
  readonly #bits: number;
  readonly #subMask: number;

  private constructor(handle: LatencyHistogramHandle, hal: Hal) {
    this.handle = handle;
    this.#hal = hal;
    this.#values = new Float64Array(handle.memory);
    this.#stride = this.#values.length / handle.possibleCpus;
    this.#bits = handle.subBucketBits;
    this.#subMask = (1 << handle.subBucketBits) - 1;
  }

  /** `subBucketBits`: 6 (the default, 64 sub-buckets per octave, 25 KB per CPU) to 10 (1024). Throws `PROFILING_INVALID_ARGUMENT`. */
  static create(options: { readonly hal?: Hal; readonly subBucketBits?: number } = {}): LatencyHistogram {
    const { hal = soloHal(), subBucketBits = DEFAULT_SUB_BUCKET_BITS } = options;
    requireInteger("subBucketBits", subBucketBits, 6, 10);
    const strideBytes = paddedWords((BUCKETS + bucketCount(subBucketBits)) * 2) * 4;
    const memory = new SharedArrayBuffer(hal.possibleCpus * strideBytes);
    const histogram = new LatencyHistogram({ possibleCpus: hal.possibleCpus, subBucketBits, memory }, hal);
    histogram.reset();
    return histogram;
  }

  static attach(handle: LatencyHistogramHandle, options: { readonly hal: Hal }): LatencyHistogram {
    return new LatencyHistogram(handle, options.hal);
  }

  /**
   * Count one duration on the calling CPU. Fractions are cut off; what is negative, not a number or beyond 2^53 is moved to the
   * nearest end of the range and counted in {@link LatencyHistogram.clamped}.
   */
  record(valueNs: number): void {
    this.recordOn(this.#hal.currentCpu(), valueNs);
  }

  /** {@link LatencyHistogram.record} for a caller that knows which CPU it runs on. */
  recordOn(cpu: CpuId, valueNs: number): void {
    const values = this.#values;
    const base = cpu * this.#stride;
    let value = Math.floor(valueNs);
    if (!(value >= 0 && value <= LARGEST_VALUE)) {
      value = value > 0 ? LARGEST_VALUE : 0;
      values[base + CLAMPED]++;
    }
    values[base + BUCKETS + this.#bucketOf(value)]++;
    values[base + SUM] += value;
    if (value > values[base + MAX]) values[base + MAX] = value;
    if (value < values[base + MIN]) values[base + MIN] = value;
  }

  /** Values recorded on `cpu`, or on all. */
  count(cpu?: CpuId): number {
    let total = 0;
    this.#forEachBlock(cpu, (base) => {
      for (let at = base + BUCKETS; at < base + this.#stride; at++) total += this.#values[at];
    });
    return total;
  }

  /** Smallest value; 0 when there is none. */
  min(cpu?: CpuId): number {
    const least = this.#fold(cpu, MIN, Math.min, Infinity);
    return least === Infinity ? 0 : least;
  }

  /** Largest value, exact; 0 when there is none. */
  max(cpu?: CpuId): number {
    return this.#fold(cpu, MAX, Math.max);
  }

  /** Arithmetic mean, from the exact sum; 0 when there is none. */
  mean(cpu?: CpuId): number {
    const count = this.count(cpu);
    return count === 0 ? 0 : this.sum(cpu) / count;
  }

  /** Sum of all values, exact to 2^53. */
  sum(cpu?: CpuId): number {
    return this.#fold(cpu, SUM, add);
  }

  /** How many values lay outside 0 … 2^53. */
  clamped(cpu?: CpuId): number {
    return this.#fold(cpu, CLAMPED, add);
  }

  /**
   * The value that `percent` of all values (0 to 100, nearest rank) do not exceed: the upper edge of its bucket, at most one
   * bucket too high, never beyond the largest value. 0 when there is none. Throws `PROFILING_INVALID_ARGUMENT`.
   */
  percentile(percent: number, cpu?: CpuId): number {
    if (!(percent >= 0 && percent <= 100)) {
      throw new ProfilingError("PROFILING_INVALID_ARGUMENT", `a percentile is ${percent}; 0 to 100 is needed`);
    }
    const counts = this.#merged(cpu);
    const rank = Math.max(1, Math.ceil((percent / 100) * counts.reduce(add, 0)));
    let seen = 0;
    for (let bucket = 0; bucket < counts.length; bucket++) {
      seen += counts[bucket];
      if (seen >= rank) return Math.min(this.max(cpu), Math.max(this.min(cpu), this.#upperEdge(bucket)));
    }
    return 0;
  }

  /** The usual figures at once. */
  summary(cpu?: CpuId): LatencySummary {
    return {
      count: this.count(cpu),
      minNs: this.min(cpu),
      maxNs: this.max(cpu),
      meanNs: this.mean(cpu),
      p50Ns: this.percentile(50, cpu),
      p90Ns: this.percentile(90, cpu),
      p99Ns: this.percentile(99, cpu),
      p999Ns: this.percentile(99.9, cpu),
    };
  }

  /** Visit every bucket that holds something, ascending; both edges inclusive. */
  forEachBucket(visit: (fromNs: number, toNs: number, count: number) => void, cpu?: CpuId): void {
    const counts = this.#merged(cpu);
    for (let bucket = 0; bucket < counts.length; bucket++) {
      if (counts[bucket] > 0) visit(this.#lowerEdge(bucket), this.#upperEdge(bucket), counts[bucket]);
    }
  }

  /** Add all of `other` to the calling CPU's block. Both must have equally many sub-buckets (`PROFILING_INVALID_ARGUMENT`). */
  merge(other: LatencyHistogram): void {
    if (other.#bits !== this.#bits) {
      throw new ProfilingError(
        "PROFILING_INVALID_ARGUMENT",
        `histograms with ${1 << this.#bits} and ${1 << other.#bits} sub-buckets per octave do not merge`,
      );
    }
    const base = this.#hal.currentCpu() * this.#stride;
    const values = this.#values;
    const sum = other.sum();
    const clamped = other.clamped();
    const least = Math.min(values[base + MIN], other.#fold(undefined, MIN, Math.min, Infinity));
    const most = Math.max(values[base + MAX], other.max());
    const counts = other.#merged(undefined);
    for (let bucket = 0; bucket < counts.length; bucket++) values[base + BUCKETS + bucket] += counts[bucket];
    values[base + SUM] += sum;
    values[base + CLAMPED] += clamped;
    values[base + MIN] = least;
    values[base + MAX] = most;
  }

  /** Forget everything. Only while no CPU records. */
  reset(): void {
    this.#values.fill(0);
    for (let base = 0; base < this.#values.length; base += this.#stride) this.#values[base + MIN] = Infinity;
  }

  #bucketOf(value: number): number {
    const bits = this.#bits;
    if (value < TWO_TO_32) {
      const low = value >>> 0;
      if (low <= this.#subMask) return low;
      const exponent = 31 - Math.clz32(low);
      return ((exponent - bits + 1) << bits) + ((low >>> (exponent - bits)) & this.#subMask);
    }
    const high = (value / HIGH_UNIT) >>> 0;
    const exponent = 31 - Math.clz32(high);
    return ((exponent + HIGH_SHIFT - bits + 1) << bits) + ((high >>> (exponent - bits)) & this.#subMask);
  }

  #lowerEdge(bucket: number): number {
    const octave = bucket >>> this.#bits;
    if (octave === 0) return bucket;
    return ((bucket & this.#subMask) + (1 << this.#bits)) * 2 ** (octave - 1);
  }

  #upperEdge(bucket: number): number {
    return Math.min(LARGEST_VALUE, this.#lowerEdge(bucket + 1) - 1);
  }

  #merged(cpu: CpuId | undefined): Float64Array {
    const counts = new Float64Array(bucketCount(this.#bits));
    this.#forEachBlock(cpu, (base) => {
      for (let bucket = 0; bucket < counts.length; bucket++) counts[bucket] += this.#values[base + BUCKETS + bucket];
    });
    return counts;
  }

  #fold(cpu: CpuId | undefined, slot: number, combine: (a: number, b: number) => number, start = 0): number {
    let result = start;
    this.#forEachBlock(cpu, (base) => {
      result = combine(result, this.#values[base + slot]);
    });
    return result;
  }

  #forEachBlock(cpu: CpuId | undefined, visit: (base: number) => void): void {
    if (cpu !== undefined) {
      requireInteger("a CPU", cpu, 0, this.handle.possibleCpus - 1);
      visit(cpu * this.#stride);
      return;
    }
    for (let base = 0; base < this.#values.length; base += this.#stride) visit(base);
  }
}

function bucketCount(bits: number): number {
  return (LARGEST_EXPONENT - bits + 2) << bits;
}

function add(a: number, b: number): number {
  return a + b;
}
