import {
  ADD64,
  code,
  constant64,
  get,
  getGlobal,
  I64,
  instantiate,
  LOW_HALF,
  moduleBytes,
  OR64,
  ROTATE_LEFT64,
  set,
  setGlobal,
  SHIFT_LEFT64,
  WasmFunction,
  WIDEN_UNSIGNED,
  XOR64,
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

/** `a += b; b = rotate(b) ^ a`, and `a` rotated by half. */
function mix(a: number, b: number, by: bigint, half: boolean): Code {
  const add = code(get(a), get(b), ADD64, set(a));
  const rotate = code(get(b), constant64(by), ROTATE_LEFT64, get(a), XOR64, set(b));
  return half ? code(add, rotate, get(a), constant64(32n), ROTATE_LEFT64, set(a)) : code(add, rotate);
}

/** Two locals of 32 bits as one word. */
const join = (low: number, high: number): Code =>
  code(get(low), WIDEN_UNSIGNED, get(high), WIDEN_UNSIGNED, constant64(32n), SHIFT_LEFT64, OR64);

/** The hash of the locals `words`, an even number, goes on the stack. */
export function sipHashOf(to: WasmFunction, words: readonly number[]): Code {
  const first = to.locals(I64, 5);
  const [v0, v1, v2, v3, m] = [0, 1, 2, 3, 4].map((n) => first + n);
  const round = code(mix(v0, v1, 13n, true), mix(v2, v3, 16n, false), mix(v2, v1, 17n, true), mix(v0, v3, 21n, false));
  const xorInto = (v: number, value: Code): Code => code(get(v), value, XOR64, set(v));
  const block = (value: Code): Code => code(value, set(m), xorInto(v3, get(m)), round, xorInto(v0, get(m)));
  const pairs = Array.from({ length: words.length / 2 }, (_, pair) => [words[pair * 2], words[pair * 2 + 1]]);
  return code(
    ...KEYED.map((global) => code(getGlobal(global), set(first + global))),
    ...pairs.map(([low, high]) => block(join(low, high))),
    // The last block has the length in bytes in its top byte.
    block(constant64(BigInt(words.length * 4) << 56n)),
    xorInto(v2, constant64(0xffn)),
    code(round, round, round),
    code(get(v0), get(v1), XOR64, get(v2), XOR64, get(v3), XOR64, LOW_HALF),
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
