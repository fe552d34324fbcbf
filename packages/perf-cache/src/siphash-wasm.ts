import {
  ADD64,
  ADD_HALVES,
  code,
  constant,
  constant64,
  get,
  getGlobal,
  I64,
  instantiate,
  laneOf,
  load64,
  loadVector,
  LOW_HALF,
  moduleBytes,
  OR64,
  OR_VECTOR,
  ROTATE_LEFT64,
  set,
  setGlobal,
  SHIFT_LEFT64,
  SHIFT_LEFT_HALVES,
  SHIFT_RIGHT_HALVES,
  shuffle,
  SPLAT64,
  store,
  V128,
  WasmFunction,
  WIDEN_UNSIGNED,
  XOR64,
  XOR_VECTOR,
} from "./wasm-code.ts";
import type { Code } from "./wasm-code.ts";

/*
 * SipHash-1-3 of four and of ten words as a WebAssembly module, put together here instruction by instruction: a 64-bit addition or
 * rotation is one instruction there, and some six over two 32-bit halves in JavaScript (siphash.ts). Two kilobytes, no memory of its own.
 */

/** SipHash-1-3 under one key. Signed 32-bit integers. */
export interface SipHashFunctions {
  readonly hash4: (a: number, b: number, c: number, d: number) => number;
  readonly hash10: (
    ...words: [number, number, number, number, number, number, number, number, number, number]
  ) => number;
}

interface Exports extends SipHashFunctions {
  readonly setKey: (a: number, b: number, c: number, d: number) => void;
}

/** The four words of state are the globals 0 to 3 as the key makes them, and locals in a hash. */
const KEYED = [0, 1, 2, 3];
const MASKS = [0x736f6d6570736575n, 0x646f72616e646f6dn, 0x6c7967656e657261n, 0x7465646279746573n];
/** Globals of 64 bits of a module that hashes. */
export const SIPHASH_GLOBALS: number = KEYED.length;

/** What the hash needs of an arithmetic of 64 bits. */
interface Arithmetic {
  readonly type: number;
  readonly add: Code;
  readonly xor: Code;
  readonly rotated: (x: number, by: number) => Code;
  /** From a word to what holds a word. */
  readonly spread: Code;
}

const WORD: Arithmetic = {
  type: I64,
  add: ADD64,
  xor: XOR64,
  rotated: (x, by) => code(get(x), constant64(BigInt(by)), ROTATE_LEFT64),
  spread: [],
};

/** Bytes of the halves of two vectors. */
const LOW_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const HIGH_HALVES = LOW_HALVES.map((byte) => byte + 8);
/** A rotation by whole bytes is a shuffle. */
const turned = (bytes: number): number[] =>
  Array.from({ length: 16 }, (_, byte) => (byte & 8) | ((byte + 8 - bytes) & 7));

const WORDS: Arithmetic = {
  type: V128,
  add: ADD_HALVES,
  xor: XOR_VECTOR,
  rotated: (x, by) =>
    by % 8 === 0
      ? code(get(x), get(x), shuffle(turned(by / 8)))
      : code(get(x), constant(by), SHIFT_LEFT_HALVES, get(x), constant(64 - by), SHIFT_RIGHT_HALVES, OR_VECTOR),
  spread: SPLAT64,
};

/** A hash, or in a vector two, under way: the locals that hold the four words of state, and the block that is mixed in. */
interface State {
  readonly v: readonly number[];
  readonly by: Arithmetic;
  /** Code of the blocks. */
  readonly message: readonly Code[];
}
const BLOCK = 4;

function stateOf(to: WasmFunction, by: Arithmetic, message: readonly Code[]): State {
  const first = to.locals(by.type, BLOCK + 1);
  return { v: KEYED.concat(BLOCK).map((n) => first + n), by, message };
}

/** Hashes that are computed side by side: the processor works on one while a step of the other waits for the step before it. */
const together = (states: readonly State[], step: (state: State) => Code): Code => code(...states.map(step));

/** `a += b; b = rotate(b) ^ a`, and `a` rotated by half. */
function mix(states: readonly State[], a: number, b: number, by: number, half: boolean): Code {
  const add = together(states, ({ v, by: { add } }) => code(get(v[a]), get(v[b]), add, set(v[a])));
  const rotate = together(states, ({ v, by: { xor, rotated } }) => code(rotated(v[b], by), get(v[a]), xor, set(v[b])));
  const turn = together(states, ({ v, by: { rotated } }) => code(rotated(v[a], 32), set(v[a])));
  return half ? code(add, rotate, turn) : code(add, rotate);
}

/** Two locals of 32 bits as one word. */
const join = (low: number, high: number): Code =>
  code(get(low), WIDEN_UNSIGNED, get(high), WIDEN_UNSIGNED, constant64(32n), SHIFT_LEFT64, OR64);

/** Hashes the messages of `states`, which have equally many blocks. */
function sipHash(states: readonly State[]): Code {
  const round = code(
    mix(states, 0, 1, 13, true),
    mix(states, 2, 3, 16, false),
    mix(states, 2, 1, 17, true),
    mix(states, 0, 3, 21, false),
  );
  const xorInto = (n: number, value: (state: State) => Code): Code =>
    together(states, (state) => code(get(state.v[n]), value(state), state.by.xor, set(state.v[n])));
  const held = ({ v }: State): Code => get(v[BLOCK]);
  const block = (value: (state: State) => Code): Code =>
    code(
      together(states, (state) => code(value(state), set(state.v[BLOCK]))),
      xorInto(3, held),
      round,
      xorInto(0, held),
    );
  const blocks = states[0].message.length;
  const fixed =
    (word: bigint) =>
    ({ by }: State): Code =>
      code(constant64(word), by.spread);
  return code(
    ...KEYED.map((n) => together(states, ({ v, by }) => code(getGlobal(n), by.spread, set(v[n])))),
    ...Array.from({ length: blocks }, (_, at) => block(({ message }) => message[at])),
    // The last block has the length in bytes in its top byte.
    block(fixed(BigInt(blocks * 8) << 56n)),
    xorInto(2, fixed(0xffn)),
    code(round, round, round),
  );
}

const resultOf = ({ v, by: { xor } }: State): Code => code(get(v[0]), get(v[1]), xor, get(v[2]), xor, get(v[3]), xor);

/** The hash of the locals `words`, an even number, goes on the stack. */
export function sipHashOf(to: WasmFunction, words: readonly number[]): Code {
  const pairs = Array.from({ length: words.length / 2 }, (_, pair) => join(words[pair * 2], words[pair * 2 + 1]));
  const state = stateOf(to, WORD, pairs);
  return code(sipHash([state]), resultOf(state), LOW_HALF);
}

/**
 * {@link sipHashOf} of four keys of four words, one behind the other at the address in `keys`: their hashes go to the address in `into` plus
 * `offset`. Two are computed in words and two in vectors, since processors have units for either that would else be idle.
 */
export function sipHashFour(to: WasmFunction, keys: number, into: number, offset: number): Code {
  const words = (key: number): State =>
    stateOf(to, WORD, [code(get(keys), load64(key * 16)), code(get(keys), load64(key * 16 + 8))]);
  const halves = (bytes: readonly number[]): Code =>
    code(get(keys), loadVector(32), get(keys), loadVector(48), shuffle(bytes));
  const [first, second] = [words(0), words(1)];
  const others = stateOf(to, WORDS, [halves(LOW_HALVES), halves(HIGH_HALVES)]);
  const pair = to.locals(V128, 1);
  return code(
    sipHash([first, others, second]),
    code(get(into), resultOf(first), LOW_HALF, store(offset)),
    code(get(into), resultOf(second), LOW_HALF, store(offset + 4)),
    code(resultOf(others), set(pair)),
    code(get(into), get(pair), laneOf(0), store(offset + 8), get(into), get(pair), laneOf(2), store(offset + 12)),
  );
}

/** Takes the four words of the key. */
export function setSipHashKey(): WasmFunction {
  const keyed = KEYED.map((v) => code(join((v & 1) * 2, (v & 1) * 2 + 1), constant64(MASKS[v]), XOR64, setGlobal(v)));
  return new WasmFunction(4, 0).returns(...keyed);
}

function hashOf(words: number): WasmFunction {
  const hash = new WasmFunction(words);
  return hash.returns(sipHashOf(hash, hash.parameters));
}

const sipHashModule = (): Uint8Array =>
  moduleBytes({ hash4: hashOf(4), hash10: hashOf(10), setKey: setSipHashKey() }, { globals64: SIPHASH_GLOBALS });

/** The functions under a key of four words; undefined where there is no WebAssembly or a content security policy forbids it. */
export function sipHashFunctions(key: Int32Array): SipHashFunctions | undefined {
  const exports = instantiate(sipHashModule) as Exports | undefined;
  exports?.setKey(key[0], key[1], key[2], key[3]);
  return exports;
}
