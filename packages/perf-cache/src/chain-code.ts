import { BEFORE_LATER, LATER, LOOKUPS, SECONDS } from "./batch-layout.ts";
import { STORED_WORDS } from "./entry-key.ts";
import { ENTRY } from "./flow-table-layout.ts";
import { SIPHASH_GLOBALS } from "./siphash-wasm.ts";
import {
  ADD,
  ADD64,
  AND,
  block,
  branchIf,
  call,
  choose,
  code,
  constant,
  constant64,
  DIFFER,
  EQUAL,
  get,
  getGlobal,
  I32,
  IS_ZERO,
  LEADING_ZEROS,
  load,
  load64,
  loadAtomic,
  loop,
  OR,
  RETURN,
  SELECT,
  set,
  SHIFT_LEFT,
  SHIFT_RIGHT,
  store64,
  tee,
  when,
  WasmFunction,
  WIDEN_UNSIGNED,
  XOR,
} from "./wasm-code.ts";
import type { Code } from "./wasm-code.ts";

/*
 * The chains of a table in WebAssembly: what lookup-wasm.ts puts its functions together from.
 */

/** The global that is the address of the table `bases` of bucket-index.ts. */
export const BASES: number = SIPHASH_GLOBALS;
/** Words of an IPv4 flow key that are not always 0, and all words. */
export const IPV4: readonly number[] = STORED_WORDS.slice(0, 4);
export const IPV6: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

export const wordsFrom = (first: number, count: number): number[] => Array.from({ length: count }, (_, n) => first + n);

/** The link in the head of `bucket`. */
const headOf = (bucket: number): Code =>
  code(
    code(get(bucket), LEADING_ZEROS, constant(2), SHIFT_LEFT, getGlobal(BASES), ADD, load(0)),
    code(get(bucket), ADD, constant(2), SHIFT_LEFT, loadAtomic(0)),
  );

/** `start` of bucket-index.ts: to `link` the first link of the stretch in which entries of `hash` are. */
export function startOf(to: WasmFunction, hash: number, mask: number, link: number): Code {
  const bucket = to.locals(I32, 1);
  const parent = code(get(bucket), constant(0x7fffffff), get(bucket), LEADING_ZEROS, SHIFT_RIGHT, AND, set(bucket));
  return code(
    code(get(hash), get(mask), AND, set(bucket)),
    code(headOf(bucket), tee(link), IS_ZERO, when(parent, headOf(bucket), set(link))),
  );
}

/** Not 0 when `link` is no entry, or one that has another hash. */
export const hasOtherHash = (link: number, hash: number): Code =>
  code(get(link), constant(1), AND, get(link), load(ENTRY.hash * 4), get(hash), XOR, OR);

/** Not 0 when `link` is no entry, or one of another hash or of another key in one of the words `named`. */
export const isOther = (link: number, hash: number, words: readonly number[], named: readonly number[]): Code =>
  code(
    hasOtherHash(link, hash),
    ...named.map((word, n) =>
      code(get(link), load((ENTRY.key + STORED_WORDS.indexOf(word)) * 4), get(words[n]), XOR, OR),
    ),
  );

/** Functions that the others call, by their places in the module. */
const REST4 = 0;
const REST10 = 1;
export const restOf = (link: number, words: readonly number[], hash: number, batch: number): Code =>
  code(...words.map(get), get(hash), get(link), get(batch), call(words.length === IPV4.length ? REST4 : REST10));

/**
 * To `candidate` the entry at `link` if its hash is `hash`, else what it links to: mostly one of the two is wanted, and which one is nothing that a
 * processor could predict, so there is no branch.
 */
export const candidateOf = (link: number, hash: number, candidate: number): Code =>
  code(
    code(get(link), get(link), loadAtomic(ENTRY.next * 4), get(link), load(ENTRY.hash * 4), get(hash), EQUAL),
    code(SELECT, set(candidate)),
  );

/** 1 when `candidate` is the second entry of the chain that begins with `link`, else 0. */
export const isSecond = (link: number, candidate: number): Code => code(get(candidate), get(link), DIFFER);

/** Add to a count of the batch at `batch`. */
export const count = (batch: number, offset: number, added: Code): Code =>
  code(get(batch), get(batch), load64(offset), added, ADD64, store64(offset));

/**
 * The result of a chain that begins with `link`. Marks are odd. 0 is no link, and the result even if the unused line at 0 should
 * match.
 */
export function resultOf(to: WasmFunction, link: number, hash: number, words: readonly number[], batch: number): Code {
  const candidate = to.locals(I32, 1);
  const second = count(batch, SECONDS, code(isSecond(link, candidate), WIDEN_UNSIGNED));
  const found = choose(restOf(link, words, hash, batch), code(second, get(candidate)));
  const named = words.length === IPV4.length ? IPV4 : IPV6;
  const search = code(candidateOf(link, hash, candidate), isOther(candidate, hash, words, named), found);
  const counted = count(batch, LOOKUPS, constant64(1n));
  return code(counted, get(link), constant(1), AND, choose(constant(0), search));
}

/** The result of the chain behind the entry at `link`, which is not the one wanted. */
export function restOfChain(named: readonly number[]): WasmFunction {
  const rest = new WasmFunction(named.length + 3);
  const hash = named.length;
  const [link, batch] = [hash + 1, hash + 2];
  const before = rest.locals(I32, 1);
  return rest.returns(
    block(
      code(get(link), IS_ZERO, branchIf(0)),
      loop(
        code(get(link), loadAtomic(ENTRY.next * 4), tee(link), constant(1), AND, branchIf(1)),
        code(get(before), constant(1), ADD, set(before)),
        code(isOther(link, hash, rest.parameters, named), branchIf(0)),
        code(count(batch, LATER, constant64(1n)), count(batch, BEFORE_LATER, code(get(before), WIDEN_UNSIGNED))),
        code(get(link), RETURN),
      ),
    ),
    constant(0),
  );
}
