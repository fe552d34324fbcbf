/**
 * Sampling profiler, performance counters, statistics and exports for JavaScript threads and emulated CPUs.
 *
 * @packageDocumentation
 */
export { ProfilingError, type ProfilingErrorCode } from "./errors.ts";
export { SymbolTable, UNKNOWN_SYMBOL, type SymbolTableHandle } from "./symbol-table.ts";
export { DEFAULT_SAMPLING_CONFIG, type SamplingConfig } from "./sampling-config.ts";
export type { ProfileSample, SampleStoreHandle } from "./sample-store.ts";
export { Profiler, type ProfilerHandle, type ProfilerObserver, type ProfilerState } from "./profiler.ts";
export { ProfileStats, type CpuStats, type FunctionStats, type StackStats } from "./profile-stats.ts";
export { formatProfile, ProfileOutput, type FormatProfileOptions, type ProfileFormat } from "./format-profile.ts";
export { formatPprof, type PprofOptions } from "./format-pprof.ts";
export { formatPerfScript, perfScriptChunks, type PerfScriptOptions } from "./format-perf-script.ts";
export {
  parsePerfScript,
  PerfScriptReader,
  type PerfFrame,
  type PerfSample,
  type PerfScriptProblem,
} from "./perf-script.ts";
export { collapse, collapsePerfScript, StackCollapser, type CollapseOptions } from "./collapse.ts";
export { ShadowStack, type ShadowStackHandle } from "./shadow-stack.ts";
export { LatencyHistogram, type LatencyHistogramHandle, type LatencySummary } from "./latency-histogram.ts";
export {
  COUNTER_NAMES,
  CounterType,
  PerformanceCounter,
  PmuCounters,
  type CounterSource,
  type PmuCountersHandle,
} from "./pmu-counters.ts";
export { formatPerfStat, type PerfStatOptions } from "./format-perf-stat.ts";
