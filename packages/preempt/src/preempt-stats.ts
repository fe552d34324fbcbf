import { PADDING_BYTES, type CpuId } from "@x/smp";

/*
 * Doubles per CPU, in padded lines:
 *
 *   line 0     REQUESTED     when need_resched was set, ns      written by who set it, before it sets the flag
 *   line 1     VOLUNTARY, INVOLUNTARY, latency count, sum, maximum, section start, longest section
 *   line 2…    latency buckets                                  lines 1… written by their CPU only
 *
 * Bucket b counts latencies of 2^b to 2^(b+1) - 1 ns; bucket 0 also those below 1 ns, the last one all above.
 */
const LINE_DOUBLES = PADDING_BYTES / 8;
/** 2^40 ns are 18 minutes. */
const BUCKETS = 40;
const REQUESTED = 0;
const VOLUNTARY = LINE_DOUBLES;
const INVOLUNTARY = LINE_DOUBLES + 1;
const COUNT = LINE_DOUBLES + 2;
const SUM = LINE_DOUBLES + 3;
const MAX = LINE_DOUBLES + 4;
const SECTION_START = LINE_DOUBLES + 5;
const SECTION_MAX = LINE_DOUBLES + 6;
const BUCKET_0 = 2 * LINE_DOUBLES;
const STRIDE = Math.ceil((BUCKET_0 + BUCKETS) / LINE_DOUBLES) * LINE_DOUBLES;

/**
 * Numbers of `Preempt.stats`, of one CPU or summed over all.
 *
 * @public
 */
export interface PreemptStats {
  /** `voluntary + involuntary`. */
  readonly total: number;
  /** Switches a thread asked for: it blocked, yielded or ended. */
  readonly voluntary: number;
  /** Switches a thread suffered. */
  readonly involuntary: number;
  /** Latencies recorded: from setting `need_resched` to acting on it. */
  readonly latencyCount: number;
  readonly meanLatencyNs: number;
  readonly maxLatencyNs: number;
  /** Element b counts latencies of 2^b to 2^(b+1) - 1 ns. */
  readonly latencyHistogram: readonly number[];
  /** Longest time with preemption disabled; 0 unless `traceSections` is on. */
  readonly longestSectionNs: number;
}

/** The shared statistics words: single-writer plain stores, any reader. */
export class StatsWords {
  readonly #values: Float64Array;
  readonly #cpus: number;

  constructor(memory: SharedArrayBuffer) {
    this.#values = new Float64Array(memory);
    this.#cpus = this.#values.length / STRIDE;
  }

  static bytes(cpus: number): number {
    return cpus * STRIDE * 8;
  }

  setRequested(cpu: CpuId, timeNs: number): void {
    this.#values[cpu * STRIDE + REQUESTED] = timeNs;
  }

  requested(cpu: CpuId): number {
    return this.#values[cpu * STRIDE + REQUESTED];
  }

  addSwitch(cpu: CpuId, voluntary: boolean): void {
    this.#values[cpu * STRIDE + (voluntary ? VOLUNTARY : INVOLUNTARY)]++;
  }

  addLatency(cpu: CpuId, latencyNs: number): void {
    const base = cpu * STRIDE;
    this.#values[base + COUNT]++;
    this.#values[base + SUM] += latencyNs;
    if (latencyNs > this.#values[base + MAX]) this.#values[base + MAX] = latencyNs;
    const bucket = latencyNs < 1 ? 0 : Math.min(BUCKETS - 1, Math.floor(Math.log2(latencyNs)));
    this.#values[base + BUCKET_0 + bucket]++;
  }

  openSection(cpu: CpuId, timeNs: number): void {
    this.#values[cpu * STRIDE + SECTION_START] = timeNs;
  }

  closeSection(cpu: CpuId, timeNs: number): number {
    const base = cpu * STRIDE;
    const durationNs = timeNs - this.#values[base + SECTION_START];
    if (durationNs > this.#values[base + SECTION_MAX]) this.#values[base + SECTION_MAX] = durationNs;
    return durationNs;
  }

  read(cpu: CpuId | undefined): PreemptStats {
    const first = cpu ?? 0;
    const last = cpu ?? this.#cpus - 1;
    const sum = (slot: number): number => this.#fold(first, last, slot, (a, b) => a + b);
    const largest = (slot: number): number => this.#fold(first, last, slot, Math.max);
    const voluntary = sum(VOLUNTARY);
    const involuntary = sum(INVOLUNTARY);
    const latencyCount = sum(COUNT);
    return {
      total: voluntary + involuntary,
      voluntary,
      involuntary,
      latencyCount,
      meanLatencyNs: latencyCount === 0 ? 0 : sum(SUM) / latencyCount,
      maxLatencyNs: largest(MAX),
      latencyHistogram: Array.from({ length: BUCKETS }, (_, bucket) => sum(BUCKET_0 + bucket)),
      longestSectionNs: largest(SECTION_MAX),
    };
  }

  /** Everything to 0 but the pending requests and open sections. */
  reset(): void {
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      const base = cpu * STRIDE;
      this.#values.fill(0, base + VOLUNTARY, base + SECTION_START);
      this.#values.fill(0, base + SECTION_MAX, base + STRIDE);
    }
  }

  #fold(first: CpuId, last: CpuId, slot: number, combine: (a: number, b: number) => number): number {
    let result = 0;
    for (let cpu = first; cpu <= last; cpu++) result = combine(result, this.#values[cpu * STRIDE + slot]);
    return result;
  }
}
