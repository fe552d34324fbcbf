import { SimError } from "../errors.ts";

/** Looks up what a final state has under a name: `0:r1` or `[x]`. */
export type Lookup = (name: string) => string;

/** A question about a final state, and the names in it. */
export interface Condition {
  readonly names: readonly string[];
  readonly holds: (lookup: Lookup) => boolean;
}

const TOKEN = /\s*(\/\\|\\\/|!=|[()~=]|\[\s*[A-Za-z_]\w*\s*\]|\d+:[A-Za-z_]\w*|&?[A-Za-z_]\w*|-?\d+)/y;

/**
 * Read a condition in herd's notation: `(0:r1=0 /\ ~(1:r2=x \/ [y]=1))`. Throws `SIM_INPUT`, its path `/condition`, where it is not one.
 */
export function parseCondition(text: string): Condition {
  return new ConditionParser(text).parse();
}

/** Registers are named `thread:register`, locations `[location]`, in conditions often without the brackets. */
export function observedName(name: string): string {
  if (/^\d+:/.test(name)) return name;
  return `[${name.replaceAll(/[[\]\s]/g, "")}]`;
}

type Test = Condition["holds"];

class ConditionParser {
  readonly #tokens: string[] = [];
  readonly #names = new Set<string>();
  #next = 0;

  constructor(text: string) {
    TOKEN.lastIndex = 0;
    for (let at = 0; text.slice(at).trim() !== ""; at = TOKEN.lastIndex) {
      TOKEN.lastIndex = at;
      const match = TOKEN.exec(text);
      if (match === null) this.#reject(`«${text.slice(at).trim()}»`);
      else this.#tokens.push(match[1]);
    }
  }

  parse(): Condition {
    const holds = this.#disjunction();
    if (this.#next < this.#tokens.length) this.#reject(`«${this.#tokens[this.#next]}»`);
    return { names: [...this.#names], holds };
  }

  #reject(what: string): never {
    throw new SimError("SIM_INPUT", `${what} is not understood here`, { path: "/condition" });
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#next] !== token) return false;
    this.#next++;
    return true;
  }

  #disjunction(): Test {
    let test = this.#conjunction();
    while (this.#take("\\/")) {
      const [a, b] = [test, this.#conjunction()];
      test = (lookup) => a(lookup) || b(lookup);
    }
    return test;
  }

  #conjunction(): Test {
    let test = this.#term();
    while (this.#take("/\\")) {
      const [a, b] = [test, this.#term()];
      test = (lookup) => a(lookup) && b(lookup);
    }
    return test;
  }

  #term(): Test {
    if (this.#take("~") || this.#take("not")) {
      const denied = this.#term();
      return (lookup) => !denied(lookup);
    }
    if (this.#take("true")) return () => true;
    if (this.#take("false")) return () => false;
    if (!this.#take("(")) return this.#comparison();
    const test = this.#disjunction();
    if (!this.#take(")")) this.#reject("the end");
    return test;
  }

  #comparison(): Test {
    const given = this.#tokens[this.#next++] ?? "the end";
    if (!/^(\d+:|\[|[A-Za-z_])/.test(given)) this.#reject(`«${given}»`);
    const name = observedName(given);
    this.#names.add(name);
    const equal = this.#take("=");
    if (!equal && !this.#take("!=")) this.#reject(`«${this.#tokens[this.#next] ?? "the end"}»`);
    const value = (this.#tokens[this.#next++] ?? "the end").replace(/^&/, "");
    if (/^\d+:/.test(value)) {
      this.#names.add(value);
      return (lookup) => (lookup(name) === lookup(value)) === equal;
    }
    if (!/^(-?\d+|[A-Za-z_]\w*)$/.test(value)) this.#reject(`«${value}»`);
    return (lookup) => (lookup(name) === value) === equal;
  }
}
