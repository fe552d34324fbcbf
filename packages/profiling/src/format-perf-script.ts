import type { Profiler } from "./profiler.ts";
import type { ProfileSample } from "./sample-store.ts";
import type { SymbolTable } from "./symbol-table.ts";

/**
 * What the writer of `perf script` text can be told.
 *
 * @public
 */
export interface PerfScriptOptions {
  /** Name of a task, printed as the command; default `task`. */
  readonly taskName?: (taskId: number) => string;
  /** Name of the event; default `cpu-clock`, whose periods are nanoseconds. */
  readonly event?: string;
}

/** Where perf would show the kernel's text (below 2^32, under `ffffffff`), and a program's. One symbol every 16 bytes. */
const KERNEL_TEXT_LOW = 0x81000000;
const USER_TEXT = 0x400000;
const SYMBOL_BYTES = 16;

/**
 * A profile in the layout of `perf script`, which FlameGraph, inferno, speedscope and Perfetto read. The period of a sample is its
 * weight times the interval, in nanoseconds. Samples have no instruction addresses: the addresses printed are distinct made-up ones,
 * one per symbol. A symbol without a module is printed with the kernel's in a kernel-mode sample, else with `[unknown]`.
 *
 * @public
 */
export function formatPerfScript(profiler: Profiler, options: PerfScriptOptions = {}): string {
  return [...perfScriptChunks(profiler, options)].join("");
}

/**
 * {@link formatPerfScript} sample by sample, for profiles that should not become one string.
 *
 * @public
 */
export function* perfScriptChunks(profiler: Profiler, options: PerfScriptOptions = {}): IterableIterator<string> {
  const { intervalNs } = profiler.config;
  for (const sample of profiler.samples()) {
    yield `${header(sample, intervalNs, options)}\n${callChain(sample, profiler.symbols)}\n`;
  }
}

function header(sample: ProfileSample, intervalNs: number, options: PerfScriptOptions): string {
  const comm = oneLine(options.taskName?.(sample.taskId) ?? "task");
  const task = String(sample.taskId).padStart(5);
  const cpu = String(sample.cpu).padStart(3, "0");
  const period = String(sample.weight * intervalNs).padStart(10);
  return `${comm} ${task} [${cpu}] ${seconds(sample.timeNs)}: ${period} ${options.event ?? "cpu-clock"}: `;
}

function callChain(sample: ProfileSample, symbols: SymbolTable): string {
  let text = "";
  for (let at = sample.stack.length - 1; at >= 0; at--) {
    const id = sample.stack[at];
    const module = symbols.module(id) || (sample.kernelMode ? "[kernel.kallsyms]" : "[unknown]");
    const address = addressOf(id, sample.kernelMode).padStart(16);
    text += `\t${address} ${oneLine(symbols.name(id)) || "[unknown]"}+0x0 (${oneLine(module)})\n`;
  }
  return text;
}

function addressOf(id: number, kernelMode: boolean): string {
  return kernelMode
    ? `ffffffff${(KERNEL_TEXT_LOW + id * SYMBOL_BYTES).toString(16)}`
    : (USER_TEXT + id * SYMBOL_BYTES).toString(16);
}

/** Seconds with microseconds, cut off as perf does, padded to perf's width. */
function seconds(timeNs: number): string {
  const microseconds = Math.floor(timeNs / 1000);
  const whole = Math.floor(microseconds / 1e6);
  return `${String(whole).padStart(5)}.${String(microseconds - whole * 1e6).padStart(6, "0")}`;
}

function oneLine(text: string): string {
  return text.replaceAll(/[\r\n]+/g, " ");
}
