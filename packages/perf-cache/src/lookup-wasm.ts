import { HASHES, LOOKUPS, RESULTS, SECONDS } from "./batch-layout.ts";
import { insertFunction, remember, rememberFunction, returnIfCached } from "./cache-code.ts";
import {
  BASES,
  candidateOf,
  count,
  hasOtherHash,
  IPV4,
  IPV6,
  isSecond,
  restOf,
  restOfChain,
  resultOf,
  startOf,
  wordsFrom,
} from "./chain-code.ts";
import { ENTRY } from "./flow-table-layout.ts";
import { jhashFour, jhashOf } from "./jhash-wasm.ts";
import { setSipHashKey, SIPHASH_GLOBALS, sipHashFour, sipHashOf } from "./siphash-wasm.ts";
import {
  ADD,
  AND,
  ANY_BIT,
  branchIf,
  choose,
  code,
  constant,
  get,
  I32,
  instantiate,
  IS_ZERO,
  LESS_UNSIGNED,
  load,
  loadVector,
  loop,
  moduleBytes,
  OR,
  set,
  setGlobal,
  SHIFT_LEFT,
  store,
  SUBTRACT,
  tee,
  when,
  WasmFunction,
  WIDEN_UNSIGNED,
  XOR_VECTOR,
} from "./wasm-code.ts";
import type { Code } from "./wasm-code.ts";

/*
 * Look-ups of flow keys in WebAssembly, over the memory of the table itself: the same walk as `#walk` of flow-reader.ts, with atomic
 * loads of heads and links, which are plain instructions of most processors and not calls as in JavaScript. What it does not find, it leaves to
 * that: the ends of chains, growth that this thread has not noticed.
 * What they have in memory besides: batch-layout.ts.
 */
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
  /** The entry of an IPv4 key if the connection cache whose line of the CPU is at `line` has it. */
  readonly cached4: (a: number, b: number, c: number, d: number, line: number) => number;
  /** That, else `look4`, remembered. */
  readonly through4: (...words: [...Words4, hash: number, mask: number, batch: number, line: number]) => number;
  /** The same, hash computed. */
  readonly findThrough4: (...words: [...Words4, mask: number, batch: number, line: number]) => number;
  /** Have the cache remember an entry. */
  readonly remember: (entry: number, generation: number, hash: number, line: number) => void;
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

function cached(): WasmFunction {
  const look = new WasmFunction(5);
  const words = look.parameters.slice(0, 4);
  const [at, tag] = wordsFrom(look.locals(I32, 2), 2);
  return look.returns(returnIfCached(look, words, { line: 4, set: at, tag }), constant(0));
}

/** Through a cache, with the hash given or computed. */
function through(hashing?: Hashing): WasmFunction {
  const look = new WasmFunction(hashing === undefined ? 8 : 7);
  const words = look.parameters.slice(0, 4);
  const [mask, batch, line] = look.parameters.slice(-3);
  const [link, entry, at, tag] = wordsFrom(look.locals(I32, 4), 4);
  const hash = hashing === undefined ? 4 : look.locals(I32, 1);
  const locals = { line, set: at, tag };
  return look.returns(
    returnIfCached(look, words, locals),
    hashing === undefined ? [] : code(hashing.one(look, words), set(hash)),
    startOf(look, hash, mask, link),
    code(resultOf(look, link, hash, words, batch), tee(entry), when(remember(entry, locals)), get(entry)),
  );
}

/** In loops, in each of which the processor works on many look-ups at once: hashes, of four keys at a time; heads; entries. */
function batch(hashing?: Hashing): WasmFunction {
  const look = new WasmFunction(3);
  const [at, keys, mask] = look.parameters;
  const [hash, link, candidate, key, place, end] = wordsFrom(look.locals(I32, 6), 6);
  const [seconds, missing] = wordsFrom(look.locals(I32, 2), 2);
  const words = wordsFrom(look.locals(I32, 4), 4);
  /** `key` is where the key of the look-up is, `place` + HASHES its hash, `place` + RESULTS its result. */
  const each = (step: number, ...body: Code[]): Code =>
    code(
      code(get(at), tee(place), set(key)),
      loop(
        ...body,
        code(get(key), constant(16 * step), ADD, set(key)),
        code(get(place), constant(4 * step), ADD, tee(place), get(end), LESS_UNSIGNED, branchIf(0)),
      ),
    );
  const readKey = code(...words.map((word, n) => code(get(key), load(n * 4), set(word))));
  const isOtherKey = code(get(candidate), loadVector(ENTRY.key * 4), get(key), loadVector(0), XOR_VECTOR, ANY_BIT);
  const found = code(get(seconds), isSecond(link, candidate), ADD, set(seconds), get(candidate));
  const isMissing = (result: Code): Code => code(get(missing), result, IS_ZERO, ADD, set(missing));
  const rest = code(readKey, restOf(link, words, hash, at), set(link), isMissing(get(link)), get(link));
  const search = code(
    code(candidateOf(link, hash, candidate), isOtherKey, hasOtherHash(candidate, hash), OR),
    choose(rest, found),
  );
  return look.returns(
    code(get(at), get(keys), constant(2), SHIFT_LEFT, ADD, set(end)),
    hashing === undefined ? [] : each(4, hashing.four(look, key, place, HASHES)),
    each(
      1,
      code(get(place), load(HASHES), set(hash)),
      code(startOf(look, hash, mask, link), get(place), get(link), store(RESULTS)),
    ),
    each(
      1,
      code(get(place), load(HASHES), set(hash), get(place), load(RESULTS), set(link)),
      code(get(place), get(link), constant(1), AND),
      code(choose(code(isMissing(constant(0)), constant(0)), search), store(RESULTS)),
    ),
    count(at, LOOKUPS, code(get(keys), get(missing), SUBTRACT, WIDEN_UNSIGNED)),
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
      rememberIn: rememberFunction(),
      look4: lookUp(IPV4),
      look10: lookUp(IPV6),
      find4: find(hashing),
      lookBatch: batch(),
      findBatch: batch(hashing),
      cached4: cached(),
      through4: through(),
      findThrough4: through(hashing),
      remember: insertFunction(),
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
