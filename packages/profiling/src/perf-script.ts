import { ProfilingError } from "./errors.ts";

/**
 * One element of a call chain, as `perf script` prints it.
 *
 * @public
 */
export interface PerfFrame {
  /** Hexadecimal address, as printed. */
  readonly address: string;
  /** Symbol, with its `+0x…` offset if one is printed; `[unknown]` where perf knows none. */
  readonly symbol: string;
  /** Object file, `[kernel.kallsyms]`, `[unknown]` …, without its parentheses. */
  readonly module: string;
}

/**
 * One sample of `perf script`'s text.
 *
 * @public
 */
export interface PerfSample {
  readonly comm: string;
  /** Process id; undefined where only one id is printed. */
  readonly pid: number | undefined;
  /** Thread id, or the only id that is printed. */
  readonly tid: number;
  readonly cpu: number | undefined;
  /** Time, in nanoseconds; undefined where none is printed. */
  readonly timeNs: number | undefined;
  /** Event name; undefined where none ends the header, as for tracepoints with arguments. */
  readonly event: string | undefined;
  /** Events the sample stands for, in decimal digits: beyond 2^53 for some counters. `"1"` where none is printed. */
  readonly period: string;
  /** Call chain, innermost first, as printed. */
  readonly frames: readonly PerfFrame[];
}

/**
 * Something in the text that no sample was made of.
 *
 * @public
 */
export interface PerfScriptProblem {
  /** Line, counted from 1. */
  readonly line: number;
  readonly message: string;
}

/**
 * Reads `perf script` text line by line: a header, its call chain, an empty line. Lines that begin with `#` are comments.
 *
 * A sample counts when the empty line behind it has come: the text that ends in a sample was cut off there, which is left out, as
 * stackcollapse-perf.pl does, and reported as a problem; only a text of a single sample needs no empty line.
 * A sample without a call chain can have its function behind the header, on one line (`perf script` without `-g`); such samples are
 * counted, not weighed: they name no event, and their period is 1.
 * A header without a call chain that the next header follows at once is an event without a stack, and makes no sample.
 *
 * Cost: linear in the text, whatever is in it.
 *
 * @public
 */
export class PerfScriptReader {
  readonly #onSample: (sample: PerfSample) => void;
  readonly #onProblem: ((problem: PerfScriptProblem) => void) | undefined;
  #header: Omit<PerfSample, "frames"> | undefined;
  #frames: PerfFrame[] = [];
  #line = 0;
  #samples = 0;

  constructor(onSample: (sample: PerfSample) => void, onProblem?: (problem: PerfScriptProblem) => void) {
    this.#onSample = onSample;
    this.#onProblem = onProblem;
  }

  /** The next line, without its line break. Returns whether it was understood. */
  push(text: string): boolean {
    this.#line++;
    const line = text.endsWith("\r") ? text.slice(0, -1) : text;
    if (line.startsWith("#")) return true;
    if (line === "") {
      this.#finish();
      return true;
    }
    const single = parseSingleLine(line);
    const header = single ?? parseHeader(line);
    if (header) {
      if (this.#frames.length > 0) this.#finish();
      this.#header = header;
      if (single) this.#frames = single.frames;
      if (single) this.#finish();
      return true;
    }
    const frame = parseFrame(line);
    if (!frame) {
      this.#problem(`neither a sample's header nor a function of a call chain: ${line.trim().slice(0, 80)}`);
      return false;
    }
    if (this.#header) this.#frames.push(frame);
    return true;
  }

  /** The text is over. */
  end(): void {
    if (this.#header && this.#samples > 0) {
      this.#problem(`the last sample (${this.#header.comm}) is left out, cut off: no empty line ends it`);
      this.#header = undefined;
    }
    this.#finish();
  }

  #finish(): void {
    if (this.#header) {
      this.#samples++;
      this.#onSample({ ...this.#header, frames: this.#frames });
    }
    this.#header = undefined;
    this.#frames = [];
  }

  #problem(message: string): void {
    this.#onProblem?.({ line: this.#line, message });
  }
}

/**
 * All samples of a `perf script` text, and what in it was not understood. Throws `PROFILING_MALFORMED_INPUT` when there is text but
 * no line of it is one of `perf script`. Text with bytes that are not UTF-8 passes unchanged when it is read and written as
 * `latin1`.
 *
 * @public
 */
export function parsePerfScript(text: string): { samples: PerfSample[]; problems: PerfScriptProblem[] } {
  const samples: PerfSample[] = [];
  return { samples, problems: readPerfScript(text, (sample) => samples.push(sample)) };
}

/** {@link parsePerfScript} that hands samples on instead of keeping them. */
export function readPerfScript(text: string, onSample: (sample: PerfSample) => void): PerfScriptProblem[] {
  if (text.startsWith("PERFILE2")) {
    throw malformed("this is the binary perf.data; give the output of `perf script` instead", 0);
  }
  const problems: PerfScriptProblem[] = [];
  const reader = new PerfScriptReader(onSample, (problem) => problems.push(problem));
  let understood = false;
  let firstBad = -1;
  for (let at = 0; at < text.length;) {
    const next = text.indexOf("\n", at);
    const end = next < 0 ? text.length : next;
    const line = text.slice(at, end);
    if (!reader.push(line)) firstBad = firstBad < 0 ? at : firstBad;
    else if (line !== "" && line !== "\r") understood = true;
    at = end + 1;
  }
  reader.end();
  if (!understood && firstBad >= 0) throw malformed("no line of this is from `perf script`", firstBad);
  return problems;
}

function malformed(message: string, offset: number): ProfilingError {
  return new ProfilingError("PROFILING_MALFORMED_INPUT", message, { offset });
}

/** `comm pid time: period event: address symbol (module)`, the command padded to the right. */
function parseSingleLine(line: string): (Omit<PerfSample, "frames"> & { frames: PerfFrame[] }) | undefined {
  if (!line.includes(":") || !line.trimEnd().endsWith(")")) return undefined;
  const trimmed = line.trimStart();
  const ids = findIds(trimmed);
  if (!ids) return undefined;
  const rest = trimmed.slice(ids.end);
  const before =
    /^[ \t]+(?:\[[0-9]+\][ \t]+)?[0-9]+\.[0-9]+:[ \t]+(?:[0-9]+[ \t]+)?[^ \t]+:[ \t]+(?=[0-9a-f]{3,16}[ \t])/.exec(
      rest,
    );
  const frame = before && parseFrame(rest.slice(before[0].length));
  return frame ? { ...headerOf(trimmed, ids), event: undefined, period: "1", frames: [frame] } : undefined;
}

/**
 * `comm  pid[/tid]  …  period event:`. The command ends before the first word that is a number, or two with a slash, and
 * not the first or last of the line.
 */
function parseHeader(line: string): Omit<PerfSample, "frames"> | undefined {
  if (isBlank(line.charCodeAt(0))) return undefined;
  const ids = findIds(line);
  return ids && { ...headerOf(line, ids), ...parseEvent(line) };
}

interface Ids {
  readonly start: number;
  readonly end: number;
  readonly first: number;
  readonly second: number;
}

function headerOf(line: string, ids: Ids): Omit<PerfSample, "frames" | "event" | "period"> {
  const rest = line.slice(ids.end);
  const cpu = /[ \t]\[(\d+)\](?=[ \t])/.exec(rest)?.[1];
  const time = /[ \t](\d+)\.(\d+):/.exec(rest);
  return {
    comm: line.slice(0, ids.start).replace(/[ \t]+$/, ""),
    // A thread id of 0 is perf's way of saying that there is none: the idle task prints as one id.
    pid: ids.second > 0 ? ids.first : undefined,
    tid: ids.second > 0 ? ids.second : ids.first,
    cpu: cpu === undefined ? undefined : Number(cpu),
    timeNs: time ? Number(time[1]) * 1e9 + Math.round(Number(`0.${time[2]}`) * 1e9) : undefined,
  };
}

function findIds(line: string): Ids | undefined {
  const word = /[ \t]([0-9]+)\/*([0-9]*)(?=[ \t])/g;
  const found = word.exec(line);
  if (!found) return undefined;
  return {
    start: found.index,
    end: found.index + found[0].length,
    first: Number(found[1]),
    second: Number(found[2] || 0),
  };
}

/** The end of a header: `: [period] event:`. Anything else, as arguments of a tracepoint, names no event. */
function parseEvent(line: string): { event: string | undefined; period: string } {
  const none = { event: undefined, period: "1" };
  const words = lastWords(line, 3);
  const last = words[0] ?? "";
  if (!last.endsWith(":") || last.length < 2 || words.length < 2) return none;
  const event = last.slice(0, -1);
  const before = words[1];
  if (before.endsWith(":")) return { event, period: "1" };
  const digits = /(?:^|:)([0-9]+)$/.exec(before);
  if (!digits) return none;
  const isAfterColon = digits[0].startsWith(":") || (words[2] ?? "").endsWith(":");
  return isAfterColon ? { event, period: nonZero(digits[1]) } : none;
}

function nonZero(digits: string): string {
  const significant = digits.replace(/^0+/, "");
  return significant === "" ? "1" : significant;
}

/** Up to `count` words from the end of the line, last first. */
function lastWords(line: string, count: number): string[] {
  const words: string[] = [];
  let end = line.length;
  while (words.length < count) {
    while (end > 0 && isBlank(line.charCodeAt(end - 1))) end--;
    let start = end;
    while (start > 0 && !isBlank(line.charCodeAt(start - 1))) start--;
    if (start === end) break;
    words.push(line.slice(start, end));
    end = start;
  }
  return words;
}

/**
 * `address symbol (module)`; what is behind the last closing parenthesis does not matter. The module begins at the last
 * parenthesis that a blank precedes, since symbols are full of them too.
 */
function parseFrame(line: string): PerfFrame | undefined {
  const close = line.lastIndexOf(")");
  const open = close < 0 ? -1 : line.lastIndexOf(" (", close - 2);
  if (open < 0) return undefined;
  let start = 0;
  while (start < open && isBlank(line.charCodeAt(start))) start++;
  let end = start;
  while (end < open && isWord(line.charCodeAt(end))) end++;
  let symbol = end;
  while (symbol < open && isBlank(line.charCodeAt(symbol))) symbol++;
  // A symbol has at least one character, if need be the blank before the parenthesis or the last digit of the address.
  if (symbol === open) symbol = open - 1;
  if (symbol < end) end = symbol;
  if (end <= start) return undefined;
  return { address: line.slice(start, end), symbol: line.slice(symbol, open), module: line.slice(open + 2, close) };
}

function isBlank(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}

function isWord(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || code === 95 || (code >= 97 && code <= 122);
}
