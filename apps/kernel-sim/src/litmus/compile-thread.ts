import { integerAt, listAt, objectAt, reject, textAt, type Unchecked } from "./checked.ts";
import { compileCall } from "./compile-call.ts";
import type { Instruction, Operand, ThreadCode } from "./instructions.ts";
import type { Locations } from "./locations.ts";

const OPERATORS: Readonly<Record<string, (a: number, b: number) => number>> = {
  "==": (a, b) => Number(a === b),
  "!=": (a, b) => Number(a !== b),
  "<": (a, b) => Number(a < b),
  ">": (a, b) => Number(a > b),
  "<=": (a, b) => Number(a <= b),
  ">=": (a, b) => Number(a >= b),
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
};

/** Stands where a branch will be whose target is not known yet. */
const UNKNOWN: Instruction = { kind: "branch", unless: () => 0, target: 0 };

/** Check a thread and turn its statements into instructions. */
export function compileThread(thread: Unchecked, number: number, locations: Locations): ThreadCode {
  return new ThreadCompiler(locations).compile(thread, `/threads/${number}`);
}

/** Turns the statements of one thread into instructions. What expressions call comes first, into registers without a name. */
export class ThreadCompiler {
  readonly locations: Locations;
  readonly #instructions: Instruction[] = [];
  readonly #registers: string[] = [];
  readonly #initial: number[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(locations: Locations) {
    this.locations = locations;
  }

  compile(thread: Unchecked, path: string): ThreadCode {
    const params = thread["params"] === undefined ? [] : listAt(thread["params"], `${path}/params`);
    for (const [index, param] of params.entries()) {
      const name = textAt(param, `${path}/params/${index}`);
      this.#initial[this.register(name)] = this.locations.address(name);
    }
    this.#statements(thread["body"], `${path}/body`);
    return { instructions: this.#instructions, registers: this.#registers, initial: this.#initial };
  }

  emit(instruction: Instruction): void {
    this.#instructions.push(instruction);
  }

  /** The register of a name; it holds 0 until it is set. */
  register(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const added = this.scratch(name);
    this.#numbers.set(name, added);
    return added;
  }

  /** A register that no statement can name. */
  scratch(name = ""): number {
    this.#initial.push(0);
    return this.#registers.push(name) - 1;
  }

  /** The address a `loc` means: of the register that holds a pointer, or of the location itself. */
  address(value: unknown, path: string): Operand {
    const name = textAt(value, path);
    const held = this.#numbers.get(name);
    if (held !== undefined) return (registers) => registers[held];
    const address = this.locations.address(name);
    return () => address;
  }

  expression(value: unknown, path: string): Operand {
    const given = objectAt(value, path);
    if ("const" in given) {
      const constant = integerAt(given["const"], `${path}/const`);
      return () => constant;
    }
    if ("reg" in given) {
      const register = this.register(textAt(given["reg"], `${path}/reg`));
      return (registers) => registers[register];
    }
    if ("addrOf" in given) {
      const address = this.locations.address(textAt(given["addrOf"], `${path}/addrOf`));
      return () => address;
    }
    if ("op" in given) return this.#operation(given, path);
    if ("call" in given) return compileCall(this, given, path);
    return reject(path, "no expression: const, reg, addrOf, op or call is expected");
  }

  #operation(given: Unchecked, path: string): Operand {
    const name = textAt(given["op"], `${path}/op`);
    if (!Object.hasOwn(OPERATORS, name)) reject(`${path}/op`, `must be one of ${Object.keys(OPERATORS).join(" ")}`);
    const args = listAt(given["args"], `${path}/args`);
    if (args.length !== 2) reject(`${path}/args`, "two arguments are expected");
    const [a, b] = args.map((arg, index) => this.expression(arg, `${path}/args/${index}`));
    const compute = OPERATORS[name];
    return (registers) => compute(a(registers), b(registers));
  }

  #statements(value: unknown, path: string): void {
    for (const [index, statement] of listAt(value, path).entries()) {
      this.#statement(objectAt(statement, `${path}/${index}`), `${path}/${index}`);
    }
  }

  #statement(statement: Unchecked, path: string): void {
    if ("set" in statement) {
      const computed = this.expression(statement["to"], `${path}/to`);
      const to = this.register(textAt(statement["set"], `${path}/set`));
      this.emit({ kind: "assign", to, value: computed });
    } else if ("do" in statement) this.expression(statement["do"], `${path}/do`);
    else if ("if" in statement) this.#choice(statement, path);
    else reject(path, "no statement: set, do or if is expected");
  }

  #choice(statement: Unchecked, path: string): void {
    const unless = this.expression(statement["if"], `${path}/if`);
    const branch = this.#instructions.length;
    this.emit(UNKNOWN);
    this.#statements(statement["then"], `${path}/then`);
    const jump = this.#instructions.length;
    this.emit(UNKNOWN);
    this.#instructions[branch] = { kind: "branch", unless, target: this.#instructions.length };
    if (statement["else"] !== undefined) this.#statements(statement["else"], `${path}/else`);
    this.#instructions[jump] = { kind: "branch", unless: () => 0, target: this.#instructions.length };
  }
}
