import { STORED_WORDS } from "./entry-key.ts";
import { ENTRY } from "./flow-table-layout.ts";
import { jhashFour, jhashOf } from "./jhash-wasm.ts";
import { setSipHashKey, SIPHASH_GLOBALS, sipHashOf, sipHashFour } from "./siphash-wasm.ts";
import {
  ADD,
  ADD64,
  ALL_LANES,
  AND,
  branchIf,
  block,
  code,
  constant,
  constant64,
  call,
  choose,
  DIFFER,
  EQUAL,
  EQUAL_LANES,
  get,
  getGlobal,
  I32,
  instantiate,
  IS_ZERO,
  LEADING_ZEROS,
  LESS_UNSIGNED,
  load,
  load64,
  loadAtomic,
  loadVector,
  loop,
  moduleBytes,
  OR,
  RETURN,
  SELECT,
  set,
  setGlobal,
  SHIFT_LEFT,
  SHIFT_RIGHT,
  store,
  store64,
  tee,
  when,
  WasmFunction,
  WIDEN_UNSIGNED,
  XOR,
} from "./wasm-code.ts";
import type { Code } from "./wasm-code.ts";

/*
 * Look-ups of flow keys in WebAssembly, over the memory of the table itself: the same walk as `#walk` of flow-reader.ts, with atomic
 * loads of heads and links, which are plain instructions of most processors and not calls as in JavaScript. What it does not find, it leaves to
 * that: the ends of chains, growth that this thread has not noticed.
 *
 * Memory beside the table's own: at BASES, which is global 4, the table `bases` of bucket-index.ts; for each CPU a batch, written and
 * read by that CPU alone while it looks up:
 *
 *   | keys: 4 words each | hashes | results | counts, of 64 bits |
 *
 * The counts, which JavaScript would take as long for as half a look-up takes: look-ups; those that found the second entry of their chain; those
 * that found a later one; the entries that these read before it.
 */
export const BATCH = 32;
const HASHES = BATCH * 16;
const RESULTS = HASHES + BATCH * 4;
const LOOKUPS = RESULTS + BATCH * 4;
const SECONDS = LOOKUPS + 8;
const LATER = SECONDS + 8;
const BEFORE_LATER = LATER + 8;
/** Bytes of a batch: what was written, and up to whole lines. */
export const BATCH_BYTES = 1024;
export const HASHES_WORD: number = HASHES >> 2;
export const RESULTS_WORD: number = RESULTS >> 2;
/** Bytes before the first batch: the table of bases. */
export const BASES_BYTES = 256;
const BASES = SIPHASH_GLOBALS;
/** Words of an IPv4 flow key that are not always 0, and all words. */
const IPV4 = STORED_WORDS.slice(0, 4);
const IPV6 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

type Words4 = [a: number, b: number, c: number, d: number];

/**
 * What the module exports. Masks are the number of buckets minus 1, `batch` is the address of the CPU's batch. Results are entries, or 0.
 */
export interface TableLookups {
  /** By the words 0, 4, 8 and 9 of an IPv4 key. */
  readonly look4: (a: number, b: number, c: number, d: number, hash: number, mask: number, batch: number) => number;
  /** By the words of an IPv6 key, then the rest. */
  readonly look10: (
    ...words: [...Words4, ...Words4, ports: number, last: number, hash: number, mask: number, batch: number]
  ) => number;
  /** The same as `look4`, hash computed. */
  readonly find4: (a: number, b: number, c: number, d: number, mask: number, batch: number) => number;
  /** The `count` keys, at least 1, of the batch at `batch`, whose hashes are given. Returns how many were not found. */
  readonly lookBatch: (batch: number, count: number, mask: number) => number;
  /** The same, hashes computed and left in the batch. */
  readonly findBatch: (batch: number, count: number, mask: number) => number;
}

const wordsFrom = (first: number, count: number): number[] => Array.from({ length: count }, (_, n) => first + n);

/** The link in the head of `bucket`. */
const headOf = (bucket: number): Code =>
  code(
    code(get(bucket), LEADING_ZEROS, constant(2), SHIFT_LEFT, getGlobal(BASES), ADD, load(0)),
    code(get(bucket), ADD, constant(2), SHIFT_LEFT, loadAtomic(0)),
  );

/** `start` of bucket-index.ts: to `link` the first link of the stretch in which entries of `hash` are. */
function startOf(to: WasmFunction, hash: number, mask: number, link: number): Code {
  const bucket = to.locals(I32, 1);
  const parent = code(get(bucket), constant(0x7fffffff), get(bucket), LEADING_ZEROS, SHIFT_RIGHT, AND, set(bucket));
  return code(
    code(get(hash), get(mask), AND, set(bucket)),
    code(headOf(bucket), tee(link), IS_ZERO, when(parent, headOf(bucket), set(link))),
  );
}

/** Not 0 when `link` is no entry, or one that has another hash. */
const hasOtherHash = (link: number, hash: number): Code =>
  code(get(link), constant(1), AND, get(link), load(ENTRY.hash * 4), get(hash), XOR, OR);

/** Not 0 when `link` is no entry, or one of another hash or of another key in one of the words `named`. */
const isOther = (link: number, hash: number, words: readonly number[], named: readonly number[]): Code =>
  code(
    hasOtherHash(link, hash),
    ...named.map((word, n) =>
      code(get(link), load((ENTRY.key + STORED_WORDS.indexOf(word)) * 4), get(words[n]), XOR, OR),
    ),
  );

/** Functions that the others call, by their places in the module. */
const REST4 = 0;
const REST10 = 1;
const restOf = (link: number, words: readonly number[], hash: number, batch: number): Code =>
  code(...words.map(get), get(hash), get(link), get(batch), call(words.length === IPV4.length ? REST4 : REST10));

/**
 * To `candidate` the entry at `link` if its hash is `hash`, else what it links to: mostly one of the two is wanted, and which one is nothing that a
 * processor could predict, so there is no branch.
 */
const candidateOf = (link: number, hash: number, candidate: number): Code =>
  code(
    code(get(link), get(link), loadAtomic(ENTRY.next * 4), get(link), load(ENTRY.hash * 4), get(hash), EQUAL),
    code(SELECT, set(candidate)),
  );

/** 1 when `candidate` is the second entry of the chain that begins with `link`, else 0. */
const isSecond = (link: number, candidate: number): Code => code(get(candidate), get(link), DIFFER);

/** Add to a count of the batch at `batch`. */
const count = (batch: number, offset: number, added: Code): Code =>
  code(get(batch), get(batch), load64(offset), added, ADD64, store64(offset));

/**
 * The result of a chain that begins with `link`. Marks are odd. 0 is no link, and the result even if the unused line at 0 should
 * match.
 */
function resultOf(to: WasmFunction, link: number, hash: number, words: readonly number[], batch: number): Code {
  const candidate = to.locals(I32, 1);
  const second = count(batch, SECONDS, code(isSecond(link, candidate), WIDEN_UNSIGNED));
  const found = choose(restOf(link, words, hash, batch), code(second, get(candidate)));
  const named = words.length === IPV4.length ? IPV4 : IPV6;
  const search = code(candidateOf(link, hash, candidate), isOther(candidate, hash, words, named), found);
  const counted = count(batch, LOOKUPS, constant64(1n));
  return code(counted, get(link), constant(1), AND, choose(constant(0), search));
}

/** The result of the chain behind the entry at `link`, which is not the one wanted. */
function restOfChain(named: readonly number[]): WasmFunction {
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

function lookUp(named: readonly number[]): WasmFunction {
  const look = new WasmFunction(named.length + 3);
  const words = look.parameters.slice(0, named.length);
  const hash = named.length;
  const [mask, batch] = [hash + 1, hash + 2];
  const link = look.locals(I32, 1);
  return look.returns(startOf(look, hash, mask, link), resultOf(look, link, hash, words, batch));
}

/** How a table hashes IPv4 keys. */
interface Hashing {
  /** The hash of the four locals goes on the stack. */
  readonly one: (to: WasmFunction, words: readonly number[]) => Code;
  /** Hashes of four keys at the address in `keys` go to the address in `into` plus `offset`. */
  readonly four: (to: WasmFunction, keys: number, into: number, offset: number) => Code;
}
const SIPHASH: Hashing = { one: sipHashOf, four: sipHashFour };
const JHASH: Hashing = { one: jhashOf, four: jhashFour };

function find({ one }: Hashing): WasmFunction {
  const finder = new WasmFunction(6);
  const words = finder.parameters.slice(0, 4);
  const [mask, batch] = [4, 5];
  const [hash, link] = wordsFrom(finder.locals(I32, 2), 2);
  return finder.returns(
    code(one(finder, words), set(hash)),
    startOf(finder, hash, mask, link),
    resultOf(finder, link, hash, words, batch),
  );
}

/** In loops, in each of which the processor works on many look-ups at once: hashes, of four keys at a time; heads; entries. */
function batch(hashing?: Hashing): WasmFunction {
  const look = new WasmFunction(3);
  const [at, keys, mask] = look.parameters;
  const [hash, link, candidate, key, place, item, end] = wordsFrom(look.locals(I32, 7), 7);
  const [seconds, missing] = wordsFrom(look.locals(I32, 2), 2);
  const words = wordsFrom(look.locals(I32, 4), 4);
  /** `place` is that of look-up number `item` / 4 among hashes and results, `key` where its key is. */
  const each = (step: number, ...body: Code[]): Code =>
    code(
      code(constant(0), set(item)),
      loop(
        code(get(at), get(item), ADD, set(place), get(at), get(item), constant(2), SHIFT_LEFT, ADD, set(key)),
        ...body,
        code(get(item), constant(4 * step), ADD, tee(item), get(end), LESS_UNSIGNED, branchIf(0)),
      ),
    );
  const readKey = code(...words.map((word, n) => code(get(key), load(n * 4), set(word))));
  const different = code(
    code(get(candidate), loadVector(ENTRY.key * 4), get(key), loadVector(0), EQUAL_LANES, ALL_LANES, IS_ZERO),
    code(hasOtherHash(candidate, hash), OR),
  );
  const found = code(get(seconds), isSecond(link, candidate), ADD, set(seconds), get(candidate));
  const rest = code(readKey, restOf(link, words, hash, at));
  const search = code(candidateOf(link, hash, candidate), different, choose(rest, found));
  return look.returns(
    code(get(keys), constant(2), SHIFT_LEFT, set(end)),
    hashing === undefined ? [] : each(4, hashing.four(look, key, place, HASHES)),
    each(
      1,
      code(get(place), load(HASHES), set(hash)),
      code(startOf(look, hash, mask, link), get(place), get(link), store(RESULTS)),
    ),
    each(
      1,
      code(get(place), load(HASHES), set(hash), get(place), load(RESULTS), set(link)),
      code(get(link), constant(1), AND, choose(constant(0), search), set(link)),
      code(get(place), get(link), store(RESULTS), get(missing), get(link), IS_ZERO, ADD, set(missing)),
    ),
    count(at, LOOKUPS, code(get(keys), WIDEN_UNSIGNED)),
    count(at, SECONDS, code(get(seconds), WIDEN_UNSIGNED)),
    get(missing),
  );
}

/** Takes the address of the table of bases. */
const setBases = (): WasmFunction => new WasmFunction(1, 0).returns(get(0), setGlobal(BASES));

const lookupModule = (hashing: Hashing): Uint8Array =>
  moduleBytes(
    {
      rest4: restOfChain(IPV4),
      rest10: restOfChain(IPV6),
      look4: lookUp(IPV4),
      look10: lookUp(IPV6),
      find4: find(hashing),
      lookBatch: batch(),
      findBatch: batch(hashing),
      setKey: setSipHashKey(),
      setBases: setBases(),
    },
    { globals64: SIPHASH_GLOBALS, globals: 1, importsMemory: true },
  );
const sipHashLookups = (): Uint8Array => lookupModule(SIPHASH);
const jhashLookups = (): Uint8Array => lookupModule(JHASH);

interface Exports extends TableLookups {
  readonly setKey: (...key: Words4) => void;
  readonly setBases: (at: number) => void;
}

/**
 * The look-ups of a table in `memory`, a `WebAssembly.Memory`, that has its bases at `basesAt`. `hashKey` is empty for a table that hashes by jhash.
 * Undefined where a content security policy forbids WebAssembly.
 */
export function tableLookups(memory: object, basesAt: number, hashKey: readonly number[]): TableLookups | undefined {
  const exports = instantiate(hashKey.length > 0 ? sipHashLookups : jhashLookups, memory) as Exports | undefined;
  exports?.setKey(hashKey[0] ?? 0, hashKey[1] ?? 0, hashKey[2] ?? 0, hashKey[3] ?? 0);
  exports?.setBases(basesAt);
  return exports;
}

/** The counts of all CPUs, whose batches are `batches`, as {@link HashStats} has them. */
export function sumOfCounts(batches: BigInt64Array): { lookups: number; collisions: number; extraProbes: number } {
  const sum = { lookups: 0, collisions: 0, extraProbes: 0 };
  for (let batch = 0; batch < batches.length; batch += BATCH_BYTES / 8) {
    const count = (offset: number): number => Number(batches[batch + offset / 8]);
    sum.lookups += count(LOOKUPS);
    sum.collisions += count(SECONDS) + count(LATER);
    sum.extraProbes += count(SECONDS) + count(BEFORE_LATER);
  }
  return sum;
}

export function resetCounts(batches: BigInt64Array): void {
  for (let batch = 0; batch < batches.length; batch += BATCH_BYTES / 8) {
    batches.fill(0n, batch + LOOKUPS / 8, batch + BEFORE_LATER / 8 + 1);
  }
}
