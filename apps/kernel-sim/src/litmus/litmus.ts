import { SimError } from "../errors.ts";
import { listAt, objectAt, textAt } from "./checked.ts";
import { compileLitmus } from "./compile.ts";
import { observedName, parseCondition, type Condition } from "./condition.ts";
import { ADDRESS_BASE, type LitmusCode } from "./instructions.ts";
import { LitmusMachine, type MemoryModel } from "./machine.ts";
import { initialState, isAddress, stateKey, type State } from "./state.ts";

/** States that a search looks at before it gives up. */
export const STATE_LIMIT = 4_000_000;

/** What a program can come to under a memory model. */
export interface LitmusReport {
  readonly name: string;
  readonly model: MemoryModel;
  /** Every final state, by what the program's question names. */
  readonly states: readonly string[];
  /** Every execution was followed to its end. */
  readonly exhausted: boolean;
  /** Some execution cannot finish. */
  readonly deadlock: boolean;
  /** Some execution uses as an address what is none, or ends a section that did not begin; it has no final state. */
  readonly fault: boolean;
  readonly condition: string;
  readonly quantifier: "exists" | "forall";
  /** How many of the final states satisfy the condition: none, some, all. */
  readonly verdict: "Never" | "Sometimes" | "Always";
  readonly positive: number;
  /** States that the search looked at. */
  readonly explored: number;
}

/**
 * Find every outcome of a litmus program.
 *
 * @param program - as the README has it; `SIM_INPUT` with a JSON pointer tells what is wrong in it
 * @param limit - give up after so many states
 */
export function runLitmus(program: unknown, model: MemoryModel, limit: number = STATE_LIMIT): LitmusReport {
  const code = compileLitmus(program);
  const given = objectAt(program, "");
  const text = given["condition"] === undefined ? "true" : textAt(given["condition"], "/condition");
  const condition = parseCondition(text);
  const listed = given["locations"] === undefined ? [] : listAt(given["locations"], "/locations");
  const names = [...condition.names, ...listed.map((name, at) => observedName(textAt(name, `/locations/${at}`)))];
  const lookups = lookupsOf(code, [...new Set(names)].sort());
  const search = explore(code, model, limit, (final) => printed(final, lookups));
  const positive = [...search.finals].filter((final) => holdsIn(final, condition)).length;
  return {
    name: code.name,
    model,
    states: [...search.finals].sort(),
    exhausted: search.exhausted,
    deadlock: search.deadlock,
    fault: search.fault,
    condition: text,
    quantifier: given["quantifier"] === "forall" ? "forall" : "exists",
    verdict: positive === 0 ? "Never" : positive === search.finals.size ? "Always" : "Sometimes",
    positive,
    explored: search.explored,
  };
}

interface Search {
  readonly finals: Set<string>;
  exhausted: boolean;
  deadlock: boolean;
  fault: boolean;
  explored: number;
}

/** Depth first; a state that was met is not looked at again. */
function explore(code: LitmusCode, model: MemoryModel, limit: number, print: (final: State) => string): Search {
  const machine = new LitmusMachine(code, model);
  const search: Search = { finals: new Set(), exhausted: true, deadlock: false, fault: false, explored: 0 };
  const met = new Set<string>();
  const open: State[] = [];
  const reach = (state: State | undefined): void => {
    if (state === undefined || !machine.settle(state)) {
      search.fault = true;
      return;
    }
    const key = stateKey(state);
    if (met.has(key)) return;
    met.add(key);
    open.push(state);
  };
  reach(initialState(code));
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    if (++search.explored > limit) return { ...search, exhausted: false, explored: limit };
    let moves = 0;
    machine.successors(state, (next) => {
      moves++;
      reach(next);
    });
    if (moves > 0) continue;
    if (machine.isFinal(state)) search.finals.add(print(state));
    else search.deadlock = true;
  }
  return search;
}

interface NamedLookup {
  readonly name: string;
  readonly value: (state: State) => number;
  readonly code: LitmusCode;
}

function lookupsOf(code: LitmusCode, names: readonly string[]): NamedLookup[] {
  return names.map((name) => {
    const register = /^(\d+):(.*)$/.exec(name);
    if (register === null) {
      const location = code.locations.indexOf(name.slice(1, -1));
      return { name, code, value: ({ memory }) => memory[location] ?? 0 };
    }
    const thread = Number(register[1]);
    if (thread >= code.threads.length) {
      throw new SimError("SIM_INPUT", `there is no thread ${thread}`, { path: "/condition" });
    }
    const number = code.threads[thread].registers.indexOf(register[2]);
    return { name, code, value: ({ threads }) => threads[thread].registers[number] ?? 0 };
  });
}

function printed(state: State, lookups: readonly NamedLookup[]): string {
  return lookups.map(({ name, value, code }) => `${name}=${valueText(value(state), code)};`).join(" ");
}

function valueText(value: number, code: LitmusCode): string {
  return isAddress(value, code) ? code.locations[value - ADDRESS_BASE] : String(value);
}

function holdsIn(final: string, { holds }: Condition): boolean {
  const values = new Map(Array.from(final.matchAll(/(\S+?)=(\S+);/g), ([, name, value]) => [name, value]));
  return holds((name) => values.get(name) ?? "0");
}
