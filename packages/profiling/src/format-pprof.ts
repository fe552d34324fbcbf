import { ProfileStats, type StackStats } from "./profile-stats.ts";
import type { Profiler } from "./profiler.ts";
import { ProtobufWriter } from "./protobuf-writer.ts";

/**
 * What the writer of pprof profiles can be told.
 *
 * @public
 */
export interface PprofOptions {
  /** Name of a task, for the label `task`; default its number. */
  readonly taskName?: (taskId: number) => string;
}

/* Field numbers of github.com/google/pprof proto/profile.proto. */
const PROFILE = {
  sampleType: 1,
  sample: 2,
  location: 4,
  function: 5,
  strings: 6,
  durationNs: 10,
  periodType: 11,
  period: 12,
};
const VALUE_TYPE = { type: 1, unit: 2 };
const SAMPLE = { locationId: 1, value: 2, label: 3 };
const LABEL = { key: 1, text: 2 };
const LOCATION = { id: 1, line: 4 };
const LINE = { functionId: 1 };
const FUNCTION = { id: 1, name: 2, systemName: 3 };

/**
 * A profile as pprof's protocol buffer, not compressed (`go tool pprof` takes it as it is; gzip it for readers that do not). Two
 * values per stack, samples and nanoseconds; labels `task` and `mode`. It holds no wall-clock time, so that equal profiles are
 * equal bytes.
 *
 * @public
 */
export function formatPprof(source: Profiler | ProfileStats, options: PprofOptions = {}): Uint8Array {
  const stats = source instanceof ProfileStats ? source : source.stats();
  const strings = new Numbering([""]);
  const functions = new Numbering();
  const out = new ProtobufWriter();
  const samples: readonly [string, string] = ["samples", "count"];
  const cpu: readonly [string, string] = ["cpu", "nanoseconds"];
  for (const type of [samples, cpu]) out.message(PROFILE.sampleType, valueType(type, strings));
  for (const stack of stats.stacks) {
    out.message(PROFILE.sample, sampleOf(stack, stats.config.intervalNs, strings, functions, options));
  }
  functions.values.forEach((name, at) => {
    const id = at + 1;
    const line = new ProtobufWriter().integer(LINE.functionId, id);
    out.message(PROFILE.location, new ProtobufWriter().integer(LOCATION.id, id).message(LOCATION.line, line));
    const text = strings.of(name);
    const fields = new ProtobufWriter().integer(FUNCTION.id, id).integer(FUNCTION.name, text);
    out.message(PROFILE.function, fields.integer(FUNCTION.systemName, text));
  });
  out.integer(PROFILE.durationNs, Math.round(stats.elapsedNs));
  out.message(PROFILE.periodType, valueType(cpu, strings));
  out.integer(PROFILE.period, stats.config.intervalNs);
  for (const text of strings.values) out.text(PROFILE.strings, text);
  return out.bytes();
}

/** Distinct texts by number, in the order of their first use. */
class Numbering {
  readonly values: string[];
  readonly #numbers: Map<string, number>;

  constructor(values: string[] = []) {
    this.values = values;
    this.#numbers = new Map(values.map((value, at) => [value, at]));
  }

  of(value: string): number {
    const known = this.#numbers.get(value);
    if (known !== undefined) return known;
    this.#numbers.set(value, this.values.length);
    return this.values.push(value) - 1;
  }
}

function valueType([type, unit]: readonly [string, string], strings: Numbering): ProtobufWriter {
  return new ProtobufWriter().integer(VALUE_TYPE.type, strings.of(type)).integer(VALUE_TYPE.unit, strings.of(unit));
}

function sampleOf(
  stack: StackStats,
  intervalNs: number,
  strings: Numbering,
  functions: Numbering,
  options: PprofOptions,
): ProtobufWriter {
  const sample = new ProtobufWriter();
  // Innermost function first; locations are numbered from 1, one per function.
  sample.integers(SAMPLE.locationId, stack.names.map((name) => functions.of(name) + 1).toReversed());
  sample.integers(SAMPLE.value, [stack.samples, stack.samples * intervalNs]);
  const task = options.taskName?.(stack.taskId) ?? String(stack.taskId);
  for (const [key, text] of [
    ["task", task],
    ["mode", stack.kernelMode ? "kernel" : "user"],
  ]) {
    const label = new ProtobufWriter().integer(LABEL.key, strings.of(key)).integer(LABEL.text, strings.of(text));
    sample.message(SAMPLE.label, label);
  }
  return sample;
}
