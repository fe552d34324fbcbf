/*
 * Values are integers. The address of a location is an integer too, its number above ADDRESS_BASE, so that pointers fit registers
 * and memory; programs may not use numbers of that size themselves.
 */
export const ADDRESS_BASE: number = 2 ** 40;

/** A computation over a thread's registers, without effects. */
export type Operand = (registers: readonly number[]) => number;

/** What an atomic read-modify-write does with what it read: the value to store, `undefined` for none, and what it gives. */
export interface Update {
  readonly store: (old: number, registers: readonly number[]) => number | undefined;
  readonly result: (old: number, registers: readonly number[]) => number;
}

/**
 * One step of a thread. Registers and targets are numbers; `at` computes an address; domain 0 is RCU, others are SRCU's, by the
 * address of the domain.
 */
export type Instruction =
  | { readonly kind: "assign"; readonly to: number; readonly value: Operand }
  | { readonly kind: "branch"; readonly unless: Operand; readonly target: number }
  | { readonly kind: "load"; readonly to: number; readonly at: Operand }
  | { readonly kind: "store"; readonly at: Operand; readonly value: Operand }
  | { readonly kind: "update"; readonly to: number; readonly at: Operand; readonly update: Update }
  | { readonly kind: "fence"; readonly scope: "all" | "srcu" }
  | { readonly kind: "lock"; readonly at: Operand }
  | { readonly kind: "readLock"; readonly domain: Operand; readonly to: number }
  | { readonly kind: "readUnlock"; readonly domain: Operand; readonly index: Operand | undefined }
  | { readonly kind: "synchronize"; readonly domain: Operand };

/** A thread's code, and the names of its registers; those without a name hold what expressions need on the way. */
export interface ThreadCode {
  readonly instructions: readonly Instruction[];
  readonly registers: readonly string[];
  /** What its registers hold at first: parameters hold addresses. */
  readonly initial: readonly number[];
}

/** A litmus program as the machine runs it. */
export interface LitmusCode {
  readonly name: string;
  readonly locations: readonly string[];
  readonly memory: readonly number[];
  readonly threads: readonly ThreadCode[];
}
