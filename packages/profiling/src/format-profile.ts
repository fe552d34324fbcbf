import { ProfilingError } from "./errors.ts";
import { ProfileStats, type StackStats } from "./profile-stats.ts";
import type { Profiler } from "./profiler.ts";

/**
 * How a profile is written: a table for people, JSON, CSV (RFC 4180), or collapsed stacks (`a;b;c 12`) for flame graphs.
 *
 * @public
 */
export type ProfileFormat = "text" | "json" | "csv" | "collapsed";

/**
 * What the writers of profiles can be told.
 *
 * @public
 */
export interface FormatProfileOptions {
  /** Functions in text, JSON and CSV; default 20, Infinity for all. */
  readonly limit?: number;
  /** Name of a task: the first element of a collapsed stack. Without it stacks begin with their outermost function. */
  readonly taskName?: (taskId: number) => string;
}

const DEFAULT_LIMIT = 20;

/**
 * Write a profile. Names are escaped as each format demands; a semicolon in a name becomes a colon in collapsed stacks,
 * where it would separate functions. Throws `PROFILING_INVALID_ARGUMENT` for an unknown format.
 *
 * @public
 */
export function formatProfile(
  source: Profiler | ProfileStats,
  format: ProfileFormat,
  options: FormatProfileOptions = {},
): string {
  const stats = source instanceof ProfileStats ? source : source.stats();
  const limit = options.limit ?? DEFAULT_LIMIT;
  switch (format) {
    case "text":
      return asText(stats, limit);
    case "json":
      return asJson(stats, limit);
    case "csv":
      return asCsv(stats, limit);
    case "collapsed":
      return asCollapsed(stats.stacks, options.taskName);
    default:
      throw new ProfilingError("PROFILING_INVALID_ARGUMENT", `no profile format is called ${String(format)}`);
  }
}

/**
 * A profile and the format it is to be written in.
 *
 * @public
 */
export class ProfileOutput {
  readonly stats: ProfileStats;
  readonly format: ProfileFormat;
  readonly options: FormatProfileOptions;

  constructor(stats: ProfileStats, format: ProfileFormat, options: FormatProfileOptions = {}) {
    this.stats = stats;
    this.format = format;
    this.options = options;
  }

  /** The text. */
  generate(): string {
    return formatProfile(this.stats, this.format, this.options);
  }
}

function asText(stats: ProfileStats, limit: number): string {
  const lines = [
    "=== Performance Profile ===",
    "",
    `Total Samples: ${stats.totalSamples}`,
    `Kernel Samples: ${stats.kernelSamples} (${stats.kernelPercentage().toFixed(2)}%)`,
    `User Samples: ${stats.userSamples} (${stats.userPercentage().toFixed(2)}%)`,
    `Lost Samples: ${stats.lostSamples}`,
    `Filtered Samples: ${stats.filteredSamples}`,
    `Interval: ${stats.config.intervalNs} ns`,
    `Profiled Time: ${(stats.elapsedNs / 1e9).toFixed(6)} s`,
    "",
    "=== Top Functions ===",
    "   Samples        %      Total  Function",
  ];
  for (const { name, self, total, percentage } of stats.topFunctions(limit)) {
    lines.push(`${pad(self, 10)}  ${pad(percentage.toFixed(2), 6)}% ${pad(total, 10)}  ${oneLine(name)}`);
  }
  lines.push("", "=== Per-CPU Distribution ===", "   CPU    Samples        %       Lost");
  for (const { cpu, samples, lost } of stats.perCpu) {
    const share = stats.totalSamples === 0 ? 0 : (samples / stats.totalSamples) * 100;
    lines.push(`${pad(cpu, 6)} ${pad(samples, 10)}  ${pad(share.toFixed(2), 6)}% ${pad(lost, 10)}`);
  }
  return `${lines.join("\n")}\n`;
}

function asJson(stats: ProfileStats, limit: number): string {
  const document = {
    total_samples: stats.totalSamples,
    kernel_samples: stats.kernelSamples,
    user_samples: stats.userSamples,
    functions: stats.topFunctions(limit).map(({ name, self, percentage, total }) => ({
      name,
      samples: self,
      percentage,
      total_samples: total,
    })),
    kernel_percentage: stats.kernelPercentage(),
    user_percentage: stats.userPercentage(),
    lost_samples: stats.lostSamples,
    filtered_samples: stats.filteredSamples,
    interval_ns: stats.config.intervalNs,
    elapsed_ns: stats.elapsedNs,
    per_cpu: stats.perCpu,
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function asCsv(stats: ProfileStats, limit: number): string {
  const rows = stats
    .topFunctions(limit)
    .map(({ name, self, percentage, total }) => `${csvField(name)},${self},${percentage.toFixed(2)},${total}`);
  return `${["Function,Samples,Percentage,Total", ...rows].join("\n")}\n`;
}

function asCollapsed(stacks: readonly StackStats[], taskName: ((taskId: number) => string) | undefined): string {
  const folded = new Map<string, number>();
  for (const { taskId, names, samples } of stacks) {
    const frames = names.map(frameText);
    if (taskName) frames.unshift(frameText(taskName(taskId)));
    if (frames.length === 0) continue;
    const stack = frames.join(";");
    folded.set(stack, (folded.get(stack) ?? 0) + samples);
  }
  return [...folded]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([stack, samples]) => `${stack} ${samples}\n`)
    .join("");
}

function frameText(name: string): string {
  return oneLine(name).replaceAll(";", ":");
}

function oneLine(name: string): string {
  return name.replaceAll(/[\r\n]+/g, " ");
}

function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function pad(value: number | string, width: number): string {
  return String(value).padStart(width);
}
