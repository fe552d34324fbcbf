import { ENTRY } from "./flow-table-layout.ts";
import { setSipHashKey, SIPHASH_GLOBALS, sipHashOf } from "./siphash-wasm.ts";
import {
  ADD,
  AND,
  branchIf,
  block,
  code,
  constant,
  call,
  choose,
  DIFFER,
  EQUAL,
  get,
  getGlobal,
  I32,
  instantiate,
  IS_ZERO,
  LEADING_ZEROS,
  load,
  loadAtomic,
  loop,
  moduleBytes,
  OR,
  ROTATE_LEFT,
  RETURN,
  set,
  setGlobal,
  SHIFT_LEFT,
  SHIFT_RIGHT,
  store,
  SUBTRACT,
  tee,
  when,
  WasmFunction,
  XOR,
} from "./wasm-code.ts";
import type { Code } from "./wasm-code.ts";

/*
 * Look-ups of flow keys in WebAssembly, over the memory of the table itself: the same walk as `#walk` of flow-reader.ts, with atomic
 * loads of heads and links, which are plain instructions of most processors and not calls as in JavaScript. What it does not find, it leaves to
 * that: the ends of chains, growth that this thread has not noticed.
 *
 * A result is 0, or the entry plus the number of entries of its chain that were read before it, which fits because entries begin on
 * a line. A longer chain counts as not found.
 *
 * Memory beside the table's own: at BASES, which is global 4, the table `bases` of bucket-index.ts; for each CPU a batch, written and
 * read by that CPU alone while it looks up:
 *
 *   | keys: 4 words each | hashes | results | a word that nobody reads
 */
export const BATCH = 32;
const HASHES = BATCH * 16;
const RESULTS = HASHES + BATCH * 4;
const TOUCHED = RESULTS + BATCH * 4;
/** Bytes of a batch: what was written, and up to whole lines. */
export const BATCH_BYTES = 1024;
export const HASHES_WORD: number = HASHES >> 2;
export const RESULTS_WORD: number = RESULTS >> 2;
/** Bytes before the first batch: the table of bases. */
export const BASES_BYTES = 256;
/** Where a result has the number of entries that were read before the one found. */
export const BEFORE_MASK = 63;
const BASES = SIPHASH_GLOBALS;
/** Words of an IPv4 flow key that are not always 0, and all words. */
const IPV4 = [0, 4, 8, 9];
const IPV6 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

type Words4 = [a: number, b: number, c: number, d: number];

/** What the module exports. Masks are the number of buckets minus 1. */
export interface TableLookups {
  /** By the words 0, 4, 8 and 9 of an IPv4 key. */
  readonly look4: (a: number, b: number, c: number, d: number, hash: number, mask: number) => number;
  /** By the words of an IPv6 key, then the hash and the mask. */
  readonly look10: (
    ...words: [...Words4, ...Words4, ports: number, last: number, hash: number, mask: number]
  ) => number;
  /** The same as `look4`, hash computed. */
  readonly find4: (a: number, b: number, c: number, d: number, mask: number) => number;
  /** The `count` keys, at least 1, of the batch at `batch`, whose hashes are given. */
  readonly lookBatch: (batch: number, count: number, mask: number) => void;
  /** The same, hashes computed and left in the batch. */
  readonly findBatch: (batch: number, count: number, mask: number) => void;
}

const wordsFrom = (first: number, count: number): number[] => Array.from({ length: count }, (_, n) => first + n);

/** The bytes of a word in reverse order; `swap32` of flow-key.ts. */
const swapped = (word: number): Code =>
  code(
    code(get(word), constant(8), ROTATE_LEFT, constant(0x00ff00ff), AND),
    code(get(word), constant(24), ROTATE_LEFT, constant(0xff00ff00), AND, OR),
  );

/** `final` of jhash.ts: leaves its result in `c`. */
function jhashFinal(a: number, b: number, c: number): Code {
  const step = (x: number, y: number, by: number): Code =>
    code(get(x), get(y), XOR, get(y), constant(by), ROTATE_LEFT, SUBTRACT, set(x));
  return code(
    step(c, b, 14),
    step(a, c, 11),
    step(b, a, 25),
    step(c, b, 16),
    step(a, c, 4),
    step(b, a, 14),
    step(c, b, 24),
  );
}

/** `hashTuple` of flow-key.ts for an IPv4 key. */
function jhashOf(to: WasmFunction, [source, destination, ports, last]: readonly number[]): Code {
  const [a, b, c, swap] = wordsFrom(to.locals(I32, 4), 4);
  const initial = 0xdeadbeef;
  const start = constant(0x9e3779b9 + initial + 8);
  return code(
    code(swapped(source), start, ADD, set(a), swapped(destination), start, ADD, set(b), start, set(c)),
    jhashFinal(a, b, c),
    code(get(c), constant(initial + 12), ADD, set(c), swapped(ports), set(swap)),
    code(get(swap), constant(0xffff), AND, get(c), ADD, set(a)),
    code(get(swap), constant(16), SHIFT_RIGHT, get(c), ADD, set(b)),
    code(get(last), constant(0xff), AND, get(c), ADD, set(c)),
    jhashFinal(a, b, c),
    get(c),
  );
}

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

/** Not 0 when the hash or one of the words `named` of the entry at `link` differs. */
const isOther = (link: number, hash: number, words: readonly number[], named: readonly number[]): Code =>
  code(
    code(get(link), load(ENTRY.hash * 4), get(hash), XOR),
    ...named.map((word, n) => code(get(link), load((ENTRY.key + word) * 4), get(words[n]), XOR, OR)),
  );

/** Functions that the others call, by their places in the module. */
const REST4 = 0;
const REST10 = 1;

/**
 * The result of a chain that begins with `link`: most begin with the entry that is wanted. Marks are odd. 0 is no link, and
 * the result even if the unused line at 0 should match.
 */
function resultOf(link: number, hash: number, words: readonly number[], named: readonly number[]): Code {
  const rest = code(...words.map(get), get(hash), get(link), call(named === IPV4 ? REST4 : REST10));
  const first = code(isOther(link, hash, words, named), choose(rest, get(link)));
  return code(get(link), constant(1), AND, choose(constant(0), first));
}

/** The result of the chain behind `link`, the last parameter, which is not the entry wanted. */
function restOfChain(named: readonly number[]): WasmFunction {
  const rest = new WasmFunction(named.length + 2);
  const hash = named.length;
  const link = hash + 1;
  const before = rest.locals(I32, 1);
  return rest.returns(
    block(
      code(get(link), IS_ZERO, branchIf(0)),
      loop(
        code(get(link), loadAtomic(ENTRY.next * 4), tee(link), constant(1), AND, branchIf(1)),
        code(get(before), constant(1), ADD, tee(before), constant(BEFORE_MASK), EQUAL, branchIf(1)),
        code(isOther(link, hash, rest.parameters, named), branchIf(0)),
        code(get(link), get(before), OR, RETURN),
      ),
    ),
    constant(0),
  );
}

function lookUp(named: readonly number[]): WasmFunction {
  const look = new WasmFunction(named.length + 2);
  const words = look.parameters.slice(0, named.length);
  const hash = named.length;
  const mask = hash + 1;
  const link = look.locals(I32, 1);
  return look.returns(startOf(look, hash, mask, link), resultOf(link, hash, words, named));
}

type HashOf = (to: WasmFunction, words: readonly number[]) => Code;

function find(hashOf: HashOf): WasmFunction {
  const finder = new WasmFunction(5);
  const words = finder.parameters.slice(0, 4);
  const [hash, link] = wordsFrom(finder.locals(I32, 2), 2);
  return finder.returns(
    code(hashOf(finder, words), set(hash)),
    startOf(finder, hash, 4, link),
    resultOf(link, hash, words, IPV4),
  );
}

/**
 * In three loops, in each of which the processor works on many look-ups at once: hashes and heads; the first line of each chain, read for
 * the cache alone; the walks.
 */
function batch(hashOf: HashOf | undefined): WasmFunction {
  const look = new WasmFunction(3, 0);
  const [at, count, mask] = look.parameters;
  const [hash, link, key, item, touched] = wordsFrom(look.locals(I32, 5), 5);
  const words = wordsFrom(look.locals(I32, 4), 4);
  const end = count;
  const readKey = code(
    code(get(at), get(item), constant(2), SHIFT_LEFT, ADD, set(key)),
    ...words.map((word, n) => code(get(key), load(n * 4), set(word))),
  );
  /** `item` is 4 times the number of the look-up, `key` then its place among hashes and results. */
  const each = (...body: Code[]): Code =>
    code(
      code(constant(0), set(item)),
      loop(...body, code(get(item), constant(4), ADD, tee(item), get(end), DIFFER, branchIf(0))),
    );
  const place = code(get(at), get(item), ADD, tee(key));
  const hashing = hashOf && code(readKey, hashOf(look, words), set(hash), place, get(hash), store(HASHES));
  return look.returns(
    code(get(count), constant(2), SHIFT_LEFT, set(end)),
    each(
      hashing ?? code(place, load(HASHES), set(hash)),
      code(startOf(look, hash, mask, link), get(key), get(link), store(RESULTS)),
    ),
    code(constant(0), set(touched)),
    // What is read from a mark is nothing, but it is in memory.
    each(code(place, load(RESULTS), constant(-2), AND, load(0), get(touched), XOR, set(touched))),
    // Kept, so that it is read.
    code(get(at), get(touched), store(TOUCHED)),
    each(
      readKey,
      code(place, load(HASHES), set(hash), get(key), load(RESULTS), set(link)),
      code(get(key), resultOf(link, hash, words, IPV4), store(RESULTS)),
    ),
  );
}

/** Takes the address of the table of bases. */
const setBases = (): WasmFunction => new WasmFunction(1, 0).returns(get(0), setGlobal(BASES));

const lookupModule = (hashOf: HashOf): Uint8Array =>
  moduleBytes(
    {
      rest4: restOfChain(IPV4),
      rest10: restOfChain(IPV6),
      look4: lookUp(IPV4),
      look10: lookUp(IPV6),
      find4: find(hashOf),
      lookBatch: batch(undefined),
      findBatch: batch(hashOf),
      setKey: setSipHashKey(),
      setBases: setBases(),
    },
    { globals64: SIPHASH_GLOBALS, globals: 1, importsMemory: true },
  );
const sipHashLookups = (): Uint8Array => lookupModule(sipHashOf);
const jhashLookups = (): Uint8Array => lookupModule(jhashOf);

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
