import {
  COUNT,
  LINE_SETS,
  LINE_SHARED,
  SET_ENTRIES_4,
  SET_EPOCH,
  SET_GENERATIONS_4,
  SET_MASK,
  SET_SHIFT_4,
  SET_STATE,
  SET_TAGS,
  TAG,
} from "./connection-cache-layout.ts";
import { IPV4, wordsFrom } from "./chain-code.ts";
import { ENTRY } from "./flow-table-layout.ts";
import { FLOW_KEY_IPV6 } from "./flow-key.ts";
import { pseudoLru } from "./pseudo-lru.ts";
import {
  ADD,
  ADD_DOUBLE,
  AND,
  block,
  branch,
  branchIf,
  call,
  choose,
  code,
  constant,
  DIFFER,
  EQUAL,
  get,
  I32,
  IS_ZERO,
  load,
  loadDouble,
  loop,
  MULTIPLY,
  ONE_DOUBLE,
  OR,
  RETURN,
  set,
  SHIFT_LEFT,
  SHIFT_RIGHT,
  store,
  storeDouble,
  SUBTRACT,
  tee,
  TRAILING_ZEROS,
  when,
  WasmFunction,
  XOR,
} from "./wasm-code.ts";
import type { Code } from "./wasm-code.ts";

/*
 * Connection caches of four ways in WebAssembly, over the sets of connection-cache-layout.ts that lie in the memory of the table: what
 * cache-sets.ts does for flows of IPv4. The set of a flow comes from a digest of its key that costs a fraction of the table's hash, so a hit needs none.
 * It has no secret: who chooses addresses can make flows share a set, and so miss the cache, no more.
 *
 * `line` is the address of the CPU's line.
 */
const lru = pseudoLru(4);
/** A byte for each way. */
const bytesOf = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((word, value, way) => word | ((value & 0xff) << (8 * way)), 0);
const KEEP = bytesOf(lru.keep);
const USED = bytesOf(lru.set);
/** Two bits for each state. */
const VICTIMS = Array.from(lru.victim).reduce((word, way, state) => word | (way << (2 * state)), 0);
const STATE_BITS = 7;
/** Odd numbers without a pattern, one for each word of a key. */
const FACTORS = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f];

/** Locals of work on a set. */
interface SetLocals {
  readonly line: number;
  readonly set: number;
  readonly tag: number;
}

const shared = (line: number): Code => code(get(line), load(LINE_SHARED * 4));
/** The epoch of sets that are not empty. */
const epochOf = (line: number): Code => code(shared(line), load(0), get(line), load(0), ADD);
const countOne = (line: number, slot: number): Code =>
  code(get(line), get(line), loadDouble(slot * 8), ONE_DOUBLE, ADD_DOUBLE, storeDouble(slot * 8));

/** The top bit of each byte in which two words are the same; `sameBytes` of cache-sets.ts. */
function sameBytes(to: WasmFunction, first: Code, second: number): Code {
  const difference = to.locals(I32, 1);
  return code(
    code(first, get(second), XOR, tee(difference), constant(TAG.lowBits), AND, constant(TAG.lowBits), ADD),
    code(get(difference), OR, constant(TAG.lowBits), OR, constant(-1), XOR),
  );
}

/** Of the lowest bit that is set, 4 times the number of its byte. */
const byteOf = (bits: number): Code =>
  code(get(bits), TRAILING_ZEROS, constant(3), SHIFT_RIGHT, constant(2), SHIFT_LEFT);
const withoutLowest = (bits: number): Code => code(get(bits), get(bits), constant(1), SUBTRACT, AND, set(bits));
/** Where in a word of bytes that of `way`, times 4, begins; and the mask of that byte. */
const shiftOf = (way: number): Code => code(get(way), constant(1), SHIFT_LEFT);
const maskOf = (way: number): Code => code(constant(0xff), shiftOf(way), SHIFT_LEFT);
const tagsOf = (at: number): Code => code(get(at), load(SET_TAGS * 4));
/** The tags of a set but that of `way`. */
const tagsBut = (at: number, way: number): Code => code(tagsOf(at), maskOf(way), constant(-1), XOR, AND);
const ofWay = (set: number, way: number, first: number): Code => code(get(set), get(way), ADD, load(first * 4));

/** The digest of the words that `words` put on the stack. */
const digestOf = (words: readonly Code[]): Code =>
  words.map((word, n) => code(word, constant(FACTORS[n]), MULTIPLY)).reduce((sum, product) => code(sum, product, ADD));

/** To `set` and `tag` those of `digest`; `setOf` and `tagOf` of cache-sets.ts. */
const place = (digest: number, { line, set: at, tag }: SetLocals): Code =>
  code(
    code(get(digest), get(digest), constant(16), SHIFT_RIGHT, XOR, shared(line), load(SET_MASK * 4), AND),
    code(constant(SET_SHIFT_4), SHIFT_LEFT, get(line), load(LINE_SETS * 4), ADD, set(at)),
    code(get(digest), constant(TAG.spread), MULTIPLY, constant(TAG.shift), SHIFT_RIGHT, constant(TAG.occupied), OR),
    code(constant(TAG.bytes), MULTIPLY, set(tag)),
  );

/** Note that `way`, times 4, was used. */
const use = (at: number, way: number): Code => {
  const ofTable = (table: number): Code => code(constant(table), shiftOf(way), SHIFT_RIGHT);
  return code(
    code(get(at), get(at), load(SET_STATE * 4), ofTable(KEEP), AND, ofTable(USED), constant(STATE_BITS), AND, OR),
    code(constant(STATE_BITS), AND, store(SET_STATE * 4)),
  );
};

/**
 * Returns from the function with the entry of the key in the locals `words`, if the set has it and the table confirms it. Else goes on, with what
 * `locals` say of the set. Counts one hit or one miss.
 */
export function returnIfCached(to: WasmFunction, words: readonly number[], locals: SetLocals): Code {
  const { line, set: at, tag } = locals;
  const [digest, matches, way, entry] = wordsFrom(to.locals(I32, 4), 4);
  const isOther = IPV4.map((_, n) => code(get(entry), load((ENTRY.key + n) * 4), get(words[n]), XOR)).reduce(
    (sum, difference) => code(sum, difference, OR),
  );
  const hit = code(use(at, way), countOne(line, COUNT.hits), get(entry), RETURN);
  const stale = code(get(at), tagsBut(at, way), store(SET_TAGS * 4), countOne(line, COUNT.stale));
  const isGone = code(get(entry), load(ENTRY.generation * 4), ofWay(at, way, SET_GENERATIONS_4), DIFFER);
  return code(
    code(digestOf(words.map(get)), set(digest), place(digest, locals)),
    block(
      code(get(at), load(SET_EPOCH * 4), epochOf(line), DIFFER, branchIf(0)),
      code(sameBytes(to, tagsOf(at), tag), set(matches)),
      loop(
        code(get(matches), IS_ZERO, branchIf(1)),
        code(byteOf(matches), set(way), ofWay(at, way, SET_ENTRIES_4), set(entry), withoutLowest(matches)),
        code(isGone, when(stale, branch(1)), isOther, branchIf(0), hit),
      ),
    ),
    countOne(line, COUNT.misses),
  );
}

/** Its place in the module. */
const REMEMBER = 2;
export const remember = (entry: number, { line, set: at, tag }: SetLocals): Code =>
  code(get(line), get(at), get(tag), get(entry), get(entry), load(ENTRY.generation * 4), call(REMEMBER));

/** `place` of cache-sets.ts: parameters are a CPU's line, a set, a tag, an entry and its generation. */
export function rememberFunction(): WasmFunction {
  const to = new WasmFunction(5, 0);
  const [line, at, tag, entry, generation] = to.parameters;
  const [matches, way, found] = wordsFrom(to.locals(I32, 3), 3);
  const clear = [SET_EPOCH, SET_STATE, SET_TAGS].map((word) =>
    code(get(at), word === SET_EPOCH ? epochOf(line) : constant(0), store(word * 4)),
  );
  const victim = code(
    code(constant(VICTIMS), get(at), load(SET_STATE * 4), constant(1), SHIFT_LEFT, SHIFT_RIGHT, constant(3), AND),
    code(constant(2), SHIFT_LEFT),
  );
  const free = code(
    code(tagsOf(at), constant(-1), XOR, constant(~TAG.lowBits), AND, tee(matches)),
    choose(byteOf(matches), code(countOne(line, COUNT.evictions), victim)),
  );
  const held = code(
    code(sameBytes(to, tagsOf(at), tag), set(matches)),
    block(
      loop(
        code(get(matches), IS_ZERO, branchIf(1)),
        code(byteOf(matches), set(way), withoutLowest(matches)),
        code(ofWay(at, way, SET_ENTRIES_4), get(entry), EQUAL, tee(found), IS_ZERO, branchIf(0)),
      ),
    ),
  );
  return to.returns(
    code(get(generation), constant(1), AND, IS_ZERO, when(RETURN)),
    code(get(at), load(SET_EPOCH * 4), epochOf(line), DIFFER, when(...clear)),
    code(held, get(found), IS_ZERO, when(free, set(way))),
    code(get(at), tagsBut(at, way), get(tag), maskOf(way), AND, OR, store(SET_TAGS * 4)),
    code(get(at), get(way), ADD, get(entry), store(SET_ENTRIES_4 * 4)),
    code(get(at), get(way), ADD, get(generation), store(SET_GENERATIONS_4 * 4)),
    use(at, way),
    countOne(line, COUNT.insertions),
  );
}

/** Remember an entry, in the set of its key or, for a flow of IPv6, of its hash. Parameters: entry, its generation, its hash, line. */
export function insertFunction(): WasmFunction {
  const to = new WasmFunction(4, 0);
  const [entry, generation, hash, line] = to.parameters;
  const [digest, at, tag] = wordsFrom(to.locals(I32, 3), 3);
  const word = (n: number): Code => code(get(entry), load((ENTRY.key + n) * 4));
  const ofKey = digestOf(IPV4.map((_, n) => word(n)));
  return to.returns(
    code(word(3), constant(FLOW_KEY_IPV6), AND, choose(get(hash), ofKey), set(digest)),
    place(digest, { line, set: at, tag }),
    code(get(line), get(at), get(tag), get(entry), get(generation), call(REMEMBER)),
  );
}
