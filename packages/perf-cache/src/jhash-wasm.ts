import {
  ADD,
  ADD_LANES,
  AND,
  AND_VECTOR,
  code,
  constant,
  get,
  I32,
  loadVector,
  OR,
  OR_VECTOR,
  ROTATE_LEFT,
  set,
  SHIFT_LEFT_LANES,
  SHIFT_RIGHT,
  SHIFT_RIGHT_LANES,
  shuffle,
  SPLAT,
  storeVector,
  SUBTRACT,
  SUBTRACT_LANES,
  V128,
  XOR,
  XOR_VECTOR,
} from "./wasm-code.ts";
import type { Code, WasmFunction } from "./wasm-code.ts";

/*
 * `hashTuple` of flow-key.ts for IPv4 keys, in WebAssembly: of one key in words, and of four keys at once, one in each lane of a vector.
 */
const INITIAL = 0xdeadbeef;
/** What jhash.ts begins the addresses with: `JHASH_INITVAL` above its own constant and the length. */
const ADDRESSES = 0x9e3779b9 + INITIAL + 8;
const PORTS = INITIAL + 12;

/** What the hash needs of an arithmetic. */
interface Arithmetic {
  readonly type: number;
  readonly constant: (value: number) => Code;
  readonly add: Code;
  readonly subtract: Code;
  readonly and: Code;
  readonly xor: Code;
  readonly highHalf: Code;
  readonly rotated: (x: number, by: number) => Code;
  /** The bytes of a word in reverse order; `swap32` of flow-key.ts. */
  readonly swapped: (x: number) => Code;
}

const WORDS: Arithmetic = {
  type: I32,
  constant,
  add: ADD,
  subtract: SUBTRACT,
  and: AND,
  xor: XOR,
  highHalf: code(constant(16), SHIFT_RIGHT),
  rotated: (x, by) => code(get(x), constant(by), ROTATE_LEFT),
  swapped: (x) =>
    code(
      code(get(x), constant(8), ROTATE_LEFT, constant(0x00ff00ff), AND),
      code(get(x), constant(24), ROTATE_LEFT, constant(0xff00ff00), AND, OR),
    ),
};

const LANES: Arithmetic = {
  type: V128,
  constant: (value) => code(constant(value), SPLAT),
  add: ADD_LANES,
  subtract: SUBTRACT_LANES,
  and: AND_VECTOR,
  xor: XOR_VECTOR,
  highHalf: code(constant(16), SHIFT_RIGHT_LANES),
  rotated: (x, by) =>
    code(get(x), constant(by), SHIFT_LEFT_LANES, get(x), constant(32 - by), SHIFT_RIGHT_LANES, OR_VECTOR),
  swapped: (x) => code(get(x), get(x), shuffle([3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12])),
};

/** `final` of jhash.ts: leaves its result in `c`. */
function final({ xor, rotated, subtract }: Arithmetic, a: number, b: number, c: number): Code {
  const step = (x: number, y: number, by: number): Code => code(get(x), get(y), xor, rotated(y, by), subtract, set(x));
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

function hashOf(by: Arithmetic, to: WasmFunction, [source, destination, ports, last]: readonly number[]): Code {
  const a = to.locals(by.type, 4);
  const [b, c, swapped] = [a + 1, a + 2, a + 3];
  const start = by.constant(ADDRESSES);
  return code(
    code(by.swapped(source), start, by.add, set(a), by.swapped(destination), start, by.add, set(b), start, set(c)),
    final(by, a, b, c),
    code(get(c), by.constant(PORTS), by.add, set(c), by.swapped(ports), set(swapped)),
    code(get(swapped), by.constant(0xffff), by.and, get(c), by.add, set(a)),
    code(get(swapped), by.highHalf, get(c), by.add, set(b)),
    code(get(last), by.constant(0xff), by.and, get(c), by.add, set(c)),
    final(by, a, b, c),
    get(c),
  );
}

/** The hash of the four locals `words`, those of an IPv4 key that are not always 0, goes on the stack. */
export const jhashOf = (to: WasmFunction, words: readonly number[]): Code => hashOf(WORDS, to, words);

/** Lanes of two vectors, which have the numbers 0 to 3 and 4 to 7. */
const lanes = (x: number, y: number, from: readonly number[]): Code =>
  code(get(x), get(y), shuffle(from.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte))));

/**
 * {@link jhashOf} of four keys of four words, one behind the other at the address in `keys`: their hashes go to the address in `into` plus
 * `offset`.
 */
export function jhashFour(to: WasmFunction, keys: number, into: number, offset: number): Code {
  const first = to.locals(V128, 8);
  const rows = [0, 1, 2, 3].map((n) => first + n);
  const halves = [0, 1, 2, 3].map((n) => first + 4 + n);
  // From a key in each vector to a word in each: pairs of words of two keys, then of four.
  const pair = (n: number): Code => {
    const [x, y] = [rows[n], rows[n + 1]];
    return code(lanes(x, y, [0, 4, 1, 5]), set(halves[n]), lanes(x, y, [2, 6, 3, 7]), set(halves[n + 1]));
  };
  const column = (word: number): Code => {
    const from = word % 2 === 0 ? [0, 1, 4, 5] : [2, 3, 6, 7];
    return code(lanes(halves[word >> 1], halves[(word >> 1) + 2], from), set(rows[word]));
  };
  return code(
    ...rows.map((row, n) => code(get(keys), loadVector(n * 16), set(row))),
    code(pair(0), pair(2)),
    ...rows.map((_, word) => column(word)),
    code(get(into), hashOf(LANES, to, rows), storeVector(offset)),
  );
}
