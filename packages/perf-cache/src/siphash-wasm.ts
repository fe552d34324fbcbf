/*
 * SipHash-1-3 of four and of ten words as a WebAssembly module, put together here instruction by instruction: a 64-bit addition or
 * rotation is one instruction there, and some six over two 32-bit halves in JavaScript (siphash.ts). Two kilobytes, no memory of its own.
 *
 * Encoding: WebAssembly Core Specification 2.0, chapter 5 «Binary Format».
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

/** What this file uses of the global object of that name; `undefined` where there is none. */
declare const WebAssembly:
  | {
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object) => { exports: unknown };
    }
  | undefined;

type Code = readonly number[];
const I32 = 0x7f;
const I64 = 0x7e;
const END: Code = [0x0b];
const ADD: Code = [0x7c];
const XOR: Code = [0x85];
const SHIFT_LEFT: Code = [0x86];
const OR: Code = [0x84];
const ROTATE_LEFT: Code = [0x89];
const WIDEN_UNSIGNED: Code = [0xad];
const LOW_HALF: Code = [0xa7];
const get = (local: number): Code => [0x20, local];
const set = (local: number): Code => [0x21, local];
const getGlobal = (global: number): Code => [0x23, global];
const setGlobal = (global: number): Code => [0x24, global];

/** A number of at most 64 bits, in LEB128. */
function constant(value: bigint): Code {
  const code = [0x42];
  for (let rest = BigInt.asIntN(64, value); ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    if (rest >= -64n && rest < 64n) return [...code, low];
    code.push(low | 0x80);
  }
}

/** The four words of state are the globals 0 to 3 as the key makes them, and locals in a hash. */
const KEYED = [0, 1, 2, 3];
const MASKS = [0x736f6d6570736575n, 0x646f72616e646f6dn, 0x6c7967656e657261n, 0x7465646279746573n];

const code = (...parts: (number | Code)[]): Code => parts.flat();

/** `a += b; b = rotate(b) ^ a`, and `a` rotated by half. */
function mix(a: number, b: number, by: bigint, half: boolean): Code {
  const add = code(get(a), get(b), ADD, set(a));
  const rotate = code(get(b), constant(by), ROTATE_LEFT, get(a), XOR, set(b));
  return half ? code(add, rotate, get(a), constant(32n), ROTATE_LEFT, set(a)) : code(add, rotate);
}

/** Two locals of 32 bits, `low` and the next one, as one word. */
const join = (low: number): Code =>
  code(get(low), WIDEN_UNSIGNED, get(low + 1), WIDEN_UNSIGNED, constant(32n), SHIFT_LEFT, OR);

/** The body of the function that hashes its `words` parameters. */
function hashBody(words: number): Code {
  const [v0, v1, v2, v3, m] = [0, 1, 2, 3, 4].map((n) => words + n);
  const round = code(mix(v0, v1, 13n, true), mix(v2, v3, 16n, false), mix(v2, v1, 17n, true), mix(v0, v3, 21n, false));
  const xorInto = (v: number, value: Code): Code => code(get(v), value, XOR, set(v));
  const block = (value: Code): Code => code(value, set(m), xorInto(v3, get(m)), round, xorInto(v0, get(m)));
  return body(
    5,
    code(
      ...KEYED.map((global) => code(getGlobal(global), set(words + global))),
      ...Array.from({ length: words / 2 }, (_, pair) => block(join(pair * 2))),
      // The last block has the length in bytes in its top byte.
      block(constant(BigInt(words * 4) << 56n)),
      xorInto(v2, constant(0xffn)),
      code(round, round, round),
      code(get(v0), get(v1), XOR, get(v2), XOR, get(v3), XOR, LOW_HALF),
    ),
  );
}

/** The body of the function that takes the four words of the key. */
const keyBody = (): Code =>
  body(0, code(...KEYED.map((v) => code(join((v & 1) * 2), constant(MASKS[v]), XOR, setGlobal(v)))));

/** An unsigned number below 2^14, in LEB128. */
const size = (value: number): Code => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >> 7]);
const list = (items: readonly Code[]): Code => code(size(items.length), ...items);
const section = (id: number, items: readonly Code[]): Code => code(id, size(list(items).length), list(items));

function body(locals: number, instructions: Code): Code {
  const all = code(list(locals === 0 ? [] : [[locals, I64]]), instructions, END);
  return code(size(all.length), all);
}

const type = (words: number, results: readonly Code[]): Code =>
  code(0x60, list(Array.from({ length: words }, () => [I32])), list(results));
const exported = (name: string, index: number): Code =>
  code(list(Array.from(name, (letter) => [letter.charCodeAt(0)])), 0, index);

function moduleBytes(): Uint8Array {
  const globals = KEYED.map(() => code(I64, 1, constant(0n), END));
  return Uint8Array.from(
    code(
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, [type(4, [[I32]]), type(10, [[I32]]), type(4, [])]),
      section(3, [[0], [1], [2]]),
      section(6, globals),
      section(7, [exported("hash4", 0), exported("hash10", 1), exported("setKey", 2)]),
      section(10, [hashBody(4), hashBody(10), keyBody()]),
    ),
  );
}

let compiled: object | undefined;

/** The functions under a key of four words; undefined where there is no WebAssembly or a content security policy forbids it. */
export function sipHashFunctions(key: Int32Array): SipHashFunctions | undefined {
  if (typeof WebAssembly === "undefined") return undefined;
  try {
    compiled ??= new WebAssembly.Module(moduleBytes());
    const exports = new WebAssembly.Instance(compiled).exports as Exports;
    exports.setKey(key[0], key[1], key[2], key[3]);
    return exports;
  } catch {
    return undefined;
  }
}
