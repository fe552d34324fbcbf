import { COUNTER_NAMES, CounterType, type PmuCounters } from "./pmu-counters.ts";

/**
 * What is printed around counters.
 *
 * @public
 */
export interface PerfStatOptions {
  /** What was measured; in the title of the text. */
  readonly title: string;
  /** How long it took. */
  readonly elapsedNs: number;
  /** Default: all eight. */
  readonly types?: readonly CounterType[];
}

interface Metric {
  readonly value: number;
  readonly unit: string;
}

/**
 * Counters in the layout of `perf stat` (`text`) or of `perf stat -x,` (`csv`: value, unit, event, run time, percentage, metric, its
 * unit). A type that is not supported says `<not supported>`, one that is not enabled and counted nothing `<not counted>`.
 *
 * @public
 */
export function formatPerfStat(counters: PmuCounters, format: "text" | "csv", options: PerfStatOptions): string {
  const types = options.types ?? Object.values(CounterType);
  if (format === "csv") return types.map((type) => `${csvRow(counters, type, options.elapsedNs)}\n`).join("");
  const rows = types.map((type) => textRow(counters, type, options.elapsedNs));
  const elapsed = `${(options.elapsedNs / 1e9).toFixed(9).padStart(15)} seconds time elapsed`;
  return ["", ` Performance counter stats for '${options.title}':`, "", ...rows, "", elapsed, ""].join("\n");
}

function textRow(counters: PmuCounters, type: CounterType, elapsedNs: number): string {
  const row = `${valueOf(counters, type, true).padStart(18)}      ${COUNTER_NAMES[type].padEnd(32)}`;
  const metric = metricOf(counters, type, elapsedNs);
  return metric
    ? `${row} # ${metric.value.toFixed(metric.unit.startsWith("%") ? 2 : 3).padStart(8)} ${metric.unit}`
    : row.trimEnd();
}

function csvRow(counters: PmuCounters, type: CounterType, elapsedNs: number): string {
  const value = valueOf(counters, type, false);
  const isCounted = !value.startsWith("<");
  const metric = metricOf(counters, type, elapsedNs);
  const runNs = isCounted ? Math.round(elapsedNs) : 0;
  const metricFields = metric ? [metric.value.toFixed(2), metric.unit.trim()] : ["", ""];
  return [value, "", COUNTER_NAMES[type], runNs, isCounted ? "100.00" : "0.00", ...metricFields].join(",");
}

function valueOf(counters: PmuCounters, type: CounterType, grouped: boolean): string {
  const value = counters.read(type);
  if (value === undefined) return "<not supported>";
  if (value === 0 && !counters.isEnabled(type)) return "<not counted>";
  const digits = String(Math.round(value));
  return grouped ? digits.replaceAll(/\B(?=(\d{3})+$)/g, ",") : digits;
}

/** Each type in relation to the one it is a part of, as perf shows it. */
function metricOf(counters: PmuCounters, type: CounterType, elapsedNs: number): Metric | undefined {
  const value = counters.read(type) ?? 0;
  const relation = (whole: CounterType, factor: number, unit: string): Metric | undefined => {
    const of = counters.read(whole) ?? 0;
    return of > 0 && value > 0 ? { value: (value / of) * factor, unit } : undefined;
  };
  if (type === CounterType.Instructions) return relation(CounterType.Cycles, 1, " insn per cycle");
  if (type === CounterType.CacheMisses) return relation(CounterType.CacheReferences, 100, "% of all cache refs");
  if (type === CounterType.BranchMisses) return relation(CounterType.Branches, 100, "% of all branches");
  if (type === CounterType.Cycles && value > 0 && elapsedNs > 0) return { value: value / elapsedNs, unit: "GHz" };
  return undefined;
}
