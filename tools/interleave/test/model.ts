/*
 * An interpreter of the programs of fixtures/program.mjs that knows nothing of threads: it walks through all states.
 * The tool's exploration is compared with it.
 */

/** `[operation, word, value, other]`. */
export type Instruction = readonly [operation: string, at: number, value: number, other: number];
export type Program = readonly (readonly Instruction[])[];

interface Waiting {
  readonly thread: number;
  readonly at: number;
}

interface ModelState {
  readonly memory: readonly number[];
  /** Results of each thread so far; its length is its program counter. */
  readonly results: readonly (readonly (number | string)[])[];
  /** Bit mask of the threads that are in the middle of a "spin-either". */
  readonly halfway: number;
  /** Sleepers, first come first. */
  readonly waiting: readonly Waiting[];
  /** Last thread that went; -1 none. */
  readonly last: number;
  readonly started: number;
  readonly preemptions: number;
}

/** Every outcome of `program`, in the format of the fixture; `"failed: …"` if some schedule gets stuck. */
export function modelOutcomes(program: Program, preemptionBound = Infinity): string[] {
  const outcomes = new Set<string>();
  const seen = new Set<string>();
  const bounded = preemptionBound !== Infinity;
  const pending: ModelState[] = [
    {
      memory: Array.from({ length: 16 }, () => 0),
      results: program.map(() => []),
      halfway: 0,
      waiting: [],
      last: -1,
      started: bounded ? 0 : -1,
      preemptions: 0,
    },
  ];
  for (let state = pending.pop(); state !== undefined; state = pending.pop()) {
    const key = JSON.stringify(bounded ? state : { ...state, last: 0, preemptions: 0 });
    if (seen.has(key)) continue;
    seen.add(key);
    const current = state;
    const able = program.map((_, thread) => canGo(program, current, thread));
    if (!program.some((_, thread) => able[thread] && !spinsInVain(program, current, thread))) {
      outcomes.add(ending(program, current));
    }
    program.forEach((_, thread) => {
      if (!able[thread]) return;
      const cost = current.last >= 0 && current.last !== thread && able[current.last] ? 1 : 0;
      if (current.preemptions + cost > preemptionBound) return;
      const next = go(program, current, thread);
      pending.push({ ...next, last: thread, preemptions: current.preemptions + cost });
    });
  }
  return [...outcomes].sort();
}

function ending(program: Program, state: ModelState): string {
  const finished = state.results.every((results, thread) => results.length === program[thread].length);
  if (finished) return JSON.stringify([state.results, state.memory]);
  return "failed: stuck";
}

function canGo(program: Program, state: ModelState, thread: number): boolean {
  if (((state.started >> thread) & 1) === 0) return true;
  if (state.waiting.some((each) => each.thread === thread)) return false;
  const instruction = program[thread][state.results[thread].length];
  if (instruction === undefined) return false;
  return instruction[0] !== "spin" || state.memory[instruction[1]] >= instruction[2];
}

/** In a loop that only another thread can end. */
function spinsInVain(program: Program, state: ModelState, thread: number): boolean {
  const instruction = program[thread][state.results[thread].length];
  if (instruction?.[0] !== "spin-either" || ((state.started >> thread) & 1) === 0) return false;
  const [, at, value, other] = instruction;
  return state.memory[at] < value && state.memory[other] < value;
}

function go(program: Program, state: ModelState, thread: number): ModelState {
  if (((state.started >> thread) & 1) === 0) return { ...state, started: state.started | (1 << thread) };
  const [operation, at, value, other] = program[thread][state.results[thread].length];
  const before = state.memory[at];
  const returns = (result: number | string, written = before): ModelState => ({
    ...state,
    memory: state.memory.with(at, written),
    results: state.results.with(thread, [...state.results[thread], result]),
  });
  switch (operation) {
    case "load":
    case "spin":
      return returns(before);
    case "spin-either":
      return eitherHalf(state, thread, [operation, at, value, other], returns);
    case "store":
      return returns(value, value);
    case "add":
      return returns(before, before + value);
    case "exchange":
      return returns(before, value);
    case "cas":
      return returns(before, before === value ? other : before);
    case "wait":
    case "await":
      return before === value ? { ...state, waiting: [...state.waiting, { thread, at }] } : returns("not-equal");
    default:
      return notified(state, thread, at);
  }
}

/** The two words are looked at one after the other. */
function eitherHalf(
  state: ModelState,
  thread: number,
  [, at, value, other]: Instruction,
  returns: (result: number) => ModelState,
): ModelState {
  const bit = 1 << thread;
  const first = (state.halfway & bit) === 0;
  const seen = state.memory[first ? at : other];
  if (seen < value) return { ...state, halfway: state.halfway ^ bit };
  return first ? returns(seen) : { ...returns(-seen), halfway: state.halfway & ~bit };
}

/** All sleepers of the word go on with "ok". */
function notified(state: ModelState, thread: number, at: number): ModelState {
  const woken = state.waiting.filter((each) => each.at === at);
  const results = state.results.map((each, index) =>
    index === thread
      ? [...each, woken.length]
      : woken.some((waiter) => waiter.thread === index)
        ? [...each, "ok"]
        : each,
  );
  return { ...state, results, waiting: state.waiting.filter((each) => each.at !== at) };
}
