import { type PerfFrame, type PerfSample, type PerfScriptProblem, readPerfScript } from "./perf-script.ts";
import { isMangledRust, isReadableRust, readableRust } from "./rust-names.ts";

/**
 * How stacks are folded; the names are those of stackcollapse-perf.pl's options.
 *
 * @public
 */
export interface CollapseOptions {
  /** Add `-pid` to the command; `-?` where the text has no process id. */
  readonly pid?: boolean;
  /** Add `-pid/tid` to the command. */
  readonly tid?: boolean;
  /** Mark kernel functions with `_[k]`. */
  readonly kernel?: boolean;
  /** Mark functions compiled at run time, those of `/tmp/perf-PID.map` and of jitdump's `jitted-PID-N.so`, with `_[j]`. */
  readonly jit?: boolean;
  /** `kernel` and `jit`. */
  readonly all?: boolean;
  /** Add the address to functions without a name: `[libc.so <7f12>]`. */
  readonly addrs?: boolean;
  /** Fold samples of this event only; default the first event seen, since counts of different events do not add up. */
  readonly eventFilter?: string;
}

const KERNEL_MARK = "_[k]";
const JIT_MARK = "_[j]";
const INLINE_MARK = "_[i]";
const UNKNOWN = "[unknown]";

/**
 * Folds samples into lines `command;outermost;…;innermost count` with the conventions of FlameGraph's stackcollapse-perf.pl: offsets,
 * quotes and argument lists go, semicolons become colons, nameless functions take the name of their module in brackets, functions
 * inlined into each other (`a->b`) become elements of their own, marked `_[i]`.
 *
 * Three things go beyond that script: kernel modules and `vmlinux-VERSION` count as kernel, jitdump's objects as compiled at run
 * time, and Rust names that perf left mangled are made readable in a text where perf made others readable; where it made none, they
 * stay as they are.
 *
 * @public
 */
export class StackCollapser {
  readonly #options: CollapseOptions;
  readonly #counts = new Map<string, number | bigint>();
  /** Elements of stacks that are mangled Rust names, and what they read. */
  readonly #readable = new Map<string, string>();
  #sawReadableRust = false;
  #event: string | undefined;
  #filtered = 0;

  constructor(options: CollapseOptions = {}) {
    this.#options = options;
    this.#event = options.eventFilter;
  }

  /** Count a sample; false when it is of another event than the one that is folded. */
  add(sample: PerfSample): boolean {
    if (sample.event !== undefined) {
      this.#event ??= sample.event;
      if (sample.event !== this.#event) {
        this.#filtered++;
        return false;
      }
    }
    this.#count(this.#counts, this.#fold(sample), sample.period);
    return true;
  }

  /** The event whose samples are folded; undefined while no sample named one. */
  get event(): string | undefined {
    return this.#event;
  }

  /** Samples left out because they are of another event. */
  get filteredSamples(): number {
    return this.#filtered;
  }

  /** The folded lines, in the order of their code units. */
  lines(): string[] {
    return [...this.#final()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([stack, count]) => `${stack} ${count}`);
  }

  #fold(sample: PerfSample): string {
    const isJava = sample.comm.startsWith("java");
    const elements = [processName(sample, this.#options)];
    for (let at = sample.frames.length - 1; at >= 0; at--) {
      const frame = sample.frames[at];
      const symbol = frame.symbol.replace(/\+0x[0-9a-f]+$/, "");
      // `(name)`: perf prints the process in place of a function.
      if (symbol.startsWith("(")) continue;
      this.#sawReadableRust ||= isReadableRust(symbol);
      for (const element of functionsOf(symbol, frame, isJava, this.#options)) elements.push(element);
      if (isMangledRust(symbol)) this.#noteRust(symbol, frame, elements[elements.length - 1]);
    }
    return elements.join(";");
  }

  #noteRust(symbol: string, frame: PerfFrame, element: string): void {
    const readable = functionsOf(readableRust(symbol), frame, false, this.#options);
    this.#readable.set(element, readable.join(";"));
  }

  #final(): Map<string, number | bigint> {
    if (!this.#sawReadableRust || this.#readable.size === 0) return this.#counts;
    const counts = new Map<string, number | bigint>();
    for (const [stack, count] of this.#counts) {
      const elements = stack.split(";").map((element) => this.#readable.get(element) ?? element);
      this.#count(counts, elements.join(";"), count);
    }
    return counts;
  }

  #count(counts: Map<string, number | bigint>, stack: string, period: string | number | bigint): void {
    counts.set(stack, plus(counts.get(stack) ?? 0, period));
  }
}

/**
 * Fold samples at once; see {@link StackCollapser}.
 *
 * @public
 */
export function collapse(samples: Iterable<PerfSample>, options: CollapseOptions = {}): string[] {
  const collapser = new StackCollapser(options);
  for (const sample of samples) collapser.add(sample);
  return collapser.lines();
}

/**
 * Fold a whole `perf script` text without keeping its samples. Throws `PROFILING_MALFORMED_INPUT` as `parsePerfScript` does.
 *
 * @public
 */
export function collapsePerfScript(
  text: string,
  options: CollapseOptions = {},
): { lines: string[]; problems: PerfScriptProblem[]; event: string | undefined; filteredSamples: number } {
  const collapser = new StackCollapser(options);
  const problems = readPerfScript(text, (sample) => collapser.add(sample));
  return { lines: collapser.lines(), problems, event: collapser.event, filteredSamples: collapser.filteredSamples };
}

function processName({ comm, pid, tid }: PerfSample, options: CollapseOptions): string {
  const name = comm.replaceAll(" ", "_");
  if (options.tid) return `${name}-${pid ?? "?"}/${tid}`;
  return options.pid ? `${name}-${pid ?? "?"}` : name;
}

/** The function of one frame and those that were inlined into it, outermost first. */
function functionsOf(symbol: string, frame: PerfFrame, isJava: boolean, options: CollapseOptions): string[] {
  const names = symbol.split("->");
  while (names.length > 0 && names[names.length - 1] === "") names.pop();
  return names.map((name, depth) => {
    const tidied = tidy(name === UNKNOWN ? nameOfUnknown(frame, options) : name, isJava);
    if (depth === 0) return tidied + markOf(tidied, frame.module, options);
    return tidied.includes(INLINE_MARK) ? tidied : tidied + INLINE_MARK;
  });
}

function nameOfUnknown(frame: PerfFrame, options: CollapseOptions): string {
  const name = frame.module === UNKNOWN ? "unknown" : frame.module.slice(frame.module.lastIndexOf("/") + 1);
  return options.addrs ? `[${name} <${frame.address}>]` : `[${name}]`;
}

function tidy(name: string, isJava: boolean): string {
  let tidied = name.replaceAll(";", ":").replaceAll(/["']/g, "");
  if (!isGoMethod(tidied)) tidied = withoutArguments(tidied);
  // Java's internal form of class names: Lorg/example/Name.
  if (isJava && tidied.startsWith("L") && tidied.includes("/")) tidied = tidied.slice(1);
  return tidied;
}

/** `net/http.(*conn).serve`: here the parentheses belong to the name. */
function isGoMethod(name: string): boolean {
  const open = name.indexOf(".(");
  return open >= 0 && name.includes(").", open + 2);
}

/** Cuts at the first parenthesis that begins an argument list. */
function withoutArguments(name: string): string {
  const open = name.search(/\((?!anonymous namespace\))/);
  return open < 0 ? name : name.slice(0, open);
}

function markOf(name: string, module: string, options: CollapseOptions): string {
  if ((options.kernel || options.all) && isKernel(module)) return KERNEL_MARK;
  if ((options.jit || options.all) && isCompiledAtRunTime(module) && !name.includes(JIT_MARK)) return JIT_MARK;
  return "";
}

function isKernel(module: string): boolean {
  if (module.includes("unknown")) return false;
  return module.startsWith("[") || module.endsWith("vmlinux") || /\/vmlinux-[^/]*$|\.ko(\.(gz|xz|zst))?$/.test(module);
}

function isCompiledAtRunTime(module: string): boolean {
  return /\/tmp\/perf-[0-9]+\.map|\/jitted-[0-9]+-[0-9]+\.so/.test(module);
}

/** Exact sums: numbers as long as they are safe integers. */
function plus(sum: number | bigint, period: string | number | bigint): number | bigint {
  if (typeof sum === "number" && typeof period !== "bigint") {
    const total = sum + Number(period);
    if (Number.isSafeInteger(total)) return total;
  }
  return BigInt(sum) + BigInt(period);
}
