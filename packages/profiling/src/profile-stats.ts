import type { CpuId } from "@x/smp";
import type { ProfileSample } from "./sample-store.ts";
import type { SamplingConfig } from "./sampling-config.ts";
import type { SymbolTable } from "./symbol-table.ts";

/**
 * One function of a profile.
 *
 * @public
 */
export interface FunctionStats {
  /** Id in the profiler's symbol table. */
  readonly symbol: number;
  readonly name: string;
  /** Samples with the function on top of the stack. */
  readonly self: number;
  /** Samples with the function anywhere on the stack, once for each sample however often it recurs. */
  readonly total: number;
  /** `self` as a percentage of all samples. */
  readonly percentage: number;
}

/**
 * One distinct call stack of a profile.
 *
 * @public
 */
export interface StackStats {
  readonly taskId: number;
  readonly kernelMode: boolean;
  /** Function names, the outermost first. */
  readonly names: readonly string[];
  readonly samples: number;
}

/**
 * Samples of one CPU.
 *
 * @public
 */
export interface CpuStats {
  readonly cpu: CpuId;
  readonly samples: number;
  /** Samples this CPU wanted to record when the profiler was full. */
  readonly lost: number;
  /** Samples this CPU wanted to record in a mode that the configuration leaves out. */
  readonly filtered: number;
}

/**
 * Everything reports need of a profile: a copy that does not change any more. Counts are sampling instants (the sum of weights).
 *
 * @public
 */
export class ProfileStats {
  readonly config: SamplingConfig;
  /** Time the profiler ran, pauses left out. */
  readonly elapsedNs: number;
  readonly totalSamples: number;
  readonly kernelSamples: number;
  readonly userSamples: number;
  readonly lostSamples: number;
  readonly filteredSamples: number;
  /** Records behind `totalSamples`: fewer when a record stands for several sampling instants. */
  readonly records: number;
  /** All functions, most frequent on top of the stack first; equal counts by ascending symbol id. */
  readonly functions: readonly FunctionStats[];
  /** All distinct stacks, in the order of their first sample. */
  readonly stacks: readonly StackStats[];
  /** CPUs that have samples of any kind, ascending. */
  readonly perCpu: readonly CpuStats[];

  constructor(members: {
    readonly config: SamplingConfig;
    readonly elapsedNs: number;
    readonly kernelSamples: number;
    readonly userSamples: number;
    readonly records: number;
    readonly functions: readonly FunctionStats[];
    readonly stacks: readonly StackStats[];
    readonly perCpu: readonly CpuStats[];
  }) {
    this.config = members.config;
    this.elapsedNs = members.elapsedNs;
    this.totalSamples = members.kernelSamples + members.userSamples;
    this.kernelSamples = members.kernelSamples;
    this.userSamples = members.userSamples;
    this.records = members.records;
    this.functions = members.functions;
    this.stacks = members.stacks;
    this.perCpu = members.perCpu;
    this.lostSamples = members.perCpu.reduce((sum, cpu) => sum + cpu.lost, 0);
    this.filteredSamples = members.perCpu.reduce((sum, cpu) => sum + cpu.filtered, 0);
  }

  /** Share of samples in kernel mode, 0 to 100; 0 when there are none. */
  kernelPercentage(): number {
    return percentage(this.kernelSamples, this.totalSamples);
  }

  /** Share of samples in user mode, 0 to 100; 0 when there are none. */
  userPercentage(): number {
    return percentage(this.userSamples, this.totalSamples);
  }

  /** The first `limit` of {@link ProfileStats.functions}. */
  topFunctions(limit: number): readonly FunctionStats[] {
    return this.functions.slice(0, limit);
  }
}

/** What statistics are computed from; a profiler is one. */
export interface ProfileSource {
  readonly symbols: SymbolTable;
  readonly config: SamplingConfig;
  readonly elapsedNs: number;
  samples(): Iterable<ProfileSample>;
  lostSamples(cpu: CpuId): number;
  filteredSamples(cpu: CpuId): number;
}

interface FunctionCount {
  self: number;
  total: number;
}

interface StackCount extends StackStats {
  samples: number;
}

/** One pass over the samples. */
export function collectStats(source: ProfileSource, cpus: number): ProfileStats {
  const functions = new Map<number, FunctionCount>();
  const stacks = new Map<string, StackCount>();
  const samplesOf = Array.from({ length: cpus }, () => 0);
  let kernelSamples = 0;
  let userSamples = 0;
  let records = 0;
  for (const sample of source.samples()) {
    records++;
    samplesOf[sample.cpu] += sample.weight;
    if (sample.kernelMode) kernelSamples += sample.weight;
    else userSamples += sample.weight;
    countFunctions(functions, sample);
    countStack(stacks, sample, source.symbols);
  }
  return new ProfileStats({
    config: source.config,
    elapsedNs: source.elapsedNs,
    kernelSamples,
    userSamples,
    records,
    functions: rankFunctions(functions, source.symbols, kernelSamples + userSamples),
    stacks: [...stacks.values()],
    perCpu: samplesOf
      .map((samples, cpu) => ({
        cpu,
        samples,
        lost: source.lostSamples(cpu),
        filtered: source.filteredSamples(cpu),
      }))
      .filter(({ samples, lost, filtered }) => samples + lost + filtered > 0),
  });
}

function countFunctions(functions: Map<number, FunctionCount>, sample: ProfileSample): void {
  const { stack, weight } = sample;
  for (const symbol of new Set(stack)) {
    const entry = functions.get(symbol);
    if (entry) entry.total += weight;
    else functions.set(symbol, { self: 0, total: weight });
  }
  const top = functions.get(stack[stack.length - 1]);
  if (top) top.self += weight;
}

function countStack(stacks: Map<string, StackCount>, sample: ProfileSample, symbols: SymbolTable): void {
  const { taskId, kernelMode, stack, weight } = sample;
  const key = `${taskId},${kernelMode ? 1 : 0},${stack.join()}`;
  const entry = stacks.get(key);
  if (entry) entry.samples += weight;
  else stacks.set(key, { taskId, kernelMode, names: stack.map((symbol) => symbols.name(symbol)), samples: weight });
}

function rankFunctions(
  functions: Map<number, FunctionCount>,
  symbols: SymbolTable,
  totalSamples: number,
): FunctionStats[] {
  return [...functions]
    .map(([symbol, { self, total }]) => ({
      symbol,
      name: symbols.name(symbol),
      self,
      total,
      percentage: percentage(self, totalSamples),
    }))
    .sort((a, b) => b.self - a.self || a.symbol - b.symbol);
}

function percentage(part: number, whole: number): number {
  return whole === 0 ? 0 : (part / whole) * 100;
}
