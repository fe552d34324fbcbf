import { setBit, type BitRows, type BitRowsBuilder } from "./bit-rows.ts";

/** For each rule the texts (or numbers) of its condition; `undefined` without such a condition. */
export type RuleTexts = readonly (readonly (string | number)[] | undefined)[];

/** How a pattern is compared. */
type Matching = "exact" | "any-star" | "folder" | "subtree";

/**
 * Row of a text: which rules name it. Exact texts are looked up; patterns that hold for a whole folder are tried one after
 * another, for there are few.
 */
export class TextIndex {
  readonly #exact = new Map<string | number, number>();
  readonly #prefixes: { readonly prefix: string; readonly row: number }[] = [];
  readonly #known: number;
  readonly #unknown: number;
  readonly #scratch: number;

  constructor(rules: RuleTexts, rows: BitRowsBuilder, matching: Matching) {
    const exact = new Map<string | number, Int32Array>();
    const prefixes = new Map<string, Int32Array>();
    const without = rows.blank();
    const any = rows.blank();
    const set = <Key>(map: Map<Key, Int32Array>, key: Key, rule: number): void => {
      const bits = map.get(key) ?? rows.blank();
      setBit(bits, rule);
      map.set(key, bits);
    };
    rules.forEach((texts, rule) => {
      if (texts === undefined) setBit(without, rule);
      for (const text of texts ?? []) {
        if (matching === "any-star" && text === "*") setBit(any, rule);
        else if (matching === "folder" && String(text).endsWith("/*")) set(prefixes, String(text).slice(0, -1), rule);
        else if (matching === "subtree" && text === "/") set(prefixes, "/", rule);
        else set(exact, text, rule);
        if (matching === "subtree" && text !== "/") set(prefixes, `${String(text)}/`, rule);
      }
    });
    for (let i = 0; i < any.length; i++) any[i] |= without[i];
    this.#unknown = rows.intern(without);
    this.#known = rows.intern(any);
    for (const [text, bits] of exact) this.#exact.set(text, rows.intern(bits));
    for (const [prefix, bits] of prefixes) this.#prefixes.push({ prefix, row: rows.intern(bits) });
    this.#scratch = rows.reserve();
  }

  find(text: string | number | undefined, rows: BitRows): number {
    if (text === undefined) return this.#unknown;
    rows.copy(this.#scratch, this.#known);
    const exact = this.#exact.get(text);
    if (exact !== undefined) rows.merge(this.#scratch, exact);
    for (const { prefix, row } of this.#prefixes) {
      if ((text as string).startsWith(prefix)) rows.merge(this.#scratch, row);
    }
    return this.#scratch;
  }
}
