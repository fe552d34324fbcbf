/*
 * What it takes to put a WebAssembly module together in the program itself: no file to load, none to build.
 *
 * Encoding: WebAssembly Core Specification 2.0, chapter 5 «Binary Format», and for shared memories and atomic loads the
 * threads proposal.
 */

export type Code = readonly number[];

/** What this package uses of the global object of that name; `undefined` where there is none. */
declare const WebAssembly:
  | {
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object, imports?: object) => { exports: unknown };
      readonly Memory: new (limits: { initial: number; maximum: number; shared: true }) => WasmMemory;
    }
  | undefined;

/** Bytes of a page of a WebAssembly memory. */
export const WASM_PAGE_BYTES = 65536;
const MOST_PAGES = 65536;
/** Room for the connection caches of a table, 64 MiB. It is address space until it is used. */
const SPARE_PAGES = 1024;

export const I32 = 0x7f;
export const I64 = 0x7e;
export const END: Code = [0x0b];
export const RETURN: Code = [0x0f];
const ELSE: Code = [0x05];
/** Operators of 32 bits. */
export const IS_ZERO: Code = [0x45];
export const EQUAL: Code = [0x46];
export const DIFFER: Code = [0x47];
export const LESS_UNSIGNED: Code = [0x49];
export const LEADING_ZEROS: Code = [0x67];
export const TRAILING_ZEROS: Code = [0x68];
export const ADD: Code = [0x6a];
export const SUBTRACT: Code = [0x6b];
export const MULTIPLY: Code = [0x6c];
export const AND: Code = [0x71];
export const OR: Code = [0x72];
export const XOR: Code = [0x73];
export const SHIFT_LEFT: Code = [0x74];
export const SHIFT_RIGHT: Code = [0x76];
export const ROTATE_LEFT: Code = [0x77];
/** Operators of 64 bits. */
export const ADD64: Code = [0x7c];
export const OR64: Code = [0x84];
export const XOR64: Code = [0x85];
export const SHIFT_LEFT64: Code = [0x86];
export const ROTATE_LEFT64: Code = [0x89];
/** Of doubles. */
export const ADD_DOUBLE: Code = [0xa0];
export const ONE_DOUBLE: Code = [0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
export const WIDEN_UNSIGNED: Code = [0xad];
export const LOW_HALF: Code = [0xa7];

export const code = (...parts: (number | Code)[]): Code => parts.flat();
export const get = (local: number): Code => [0x20, local];
export const set = (local: number): Code => [0x21, local];
/** Set a local and keep the value. */
export const tee = (local: number): Code => [0x22, local];
export const getGlobal = (global: number): Code => [0x23, global];
export const setGlobal = (global: number): Code => [0x24, global];
export const block = (...body: (number | Code)[]): Code => [0x02, 0x40, ...code(...body), ...END];
export const loop = (...body: (number | Code)[]): Code => [0x03, 0x40, ...code(...body), ...END];
/** A word, the one or the other, by whether the condition on the stack is not 0. */
export const choose = (yes: Code, no: Code): Code => [0x04, I32, ...yes, ...ELSE, ...no, ...END];
export const when = (...body: (number | Code)[]): Code => [0x04, 0x40, ...code(...body), ...END];
export const call = (index: number): Code => [0x10, index];
/** Leave the block, or begin the loop again, that is `depth` further out; of a condition too. */
export const branch = (depth: number): Code => [0x0c, depth];
export const branchIf = (depth: number): Code => [0x0d, depth];

/** A number of at most 64 bits, in signed LEB128. */
function signed(value: bigint): Code {
  const digits: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    if (rest >= -64n && rest < 64n) return [...digits, low];
    digits.push(low | 0x80);
  }
}
export const constant64 = (value: bigint): Code => [0x42, ...signed(BigInt.asIntN(64, value))];
export const constant = (value: number): Code => [0x41, ...signed(BigInt(value | 0))];

/** An unsigned number in LEB128. */
function unsigned(value: number): Code {
  const digits: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...digits, rest];
    digits.push((rest & 0x7f) | 0x80);
  }
}
/** The one or the other of two values on the stack, by whether the condition above them is not 0. */
export const SELECT: Code = [0x1b];

/** A word at the address on the stack plus `offset`. */
export const load = (offset: number): Code => [0x28, 2, ...unsigned(offset)];
export const loadAtomic = (offset: number): Code => [0xfe, 0x10, 2, ...unsigned(offset)];
/** 64 bits. */
export const load64 = (offset: number): Code => [0x29, 3, ...unsigned(offset)];
/** A double. */
export const loadDouble = (offset: number): Code => [0x2b, 3, ...unsigned(offset)];
export const storeDouble = (offset: number): Code => [0x39, 3, ...unsigned(offset)];
export const store64 = (offset: number): Code => [0x37, 3, ...unsigned(offset)];
/** The word on top of the stack goes to the address below it plus `offset`. */
export const store = (offset: number): Code => [0x36, 2, ...unsigned(offset)];

/** Operators of vectors of 128 bits, with four lanes of 32 bits or two halves of 64, have their code behind a prefix. */
export const V128 = 0x7b;
const vector = (operator: number): Code => [0xfd, ...unsigned(operator)];
export const loadVector = (offset: number): Code => [...vector(0x00), 2, ...unsigned(offset)];
export const storeVector = (offset: number): Code => [...vector(0x0b), 2, ...unsigned(offset)];
/** Bytes of two vectors, which have the numbers 0 to 15 and 16 to 31. */
export const shuffle = (bytes: readonly number[]): Code => [...vector(0x0d), ...bytes];
/** One word in all lanes, or in both halves. */
export const SPLAT: Code = vector(0x11);
export const SPLAT64: Code = vector(0x12);
export const laneOf = (lane: number): Code => [...vector(0x1b), lane];
export const AND_VECTOR: Code = vector(0x4e);
export const OR_VECTOR: Code = vector(0x50);
export const XOR_VECTOR: Code = vector(0x51);
/** Whether any bit is set. */
export const ANY_BIT: Code = vector(0x53);
export const SHIFT_LEFT_LANES: Code = vector(0xab);
export const SHIFT_RIGHT_LANES: Code = vector(0xad);
export const ADD_LANES: Code = vector(0xae);
export const SUBTRACT_LANES: Code = vector(0xb1);
export const SHIFT_LEFT_HALVES: Code = vector(0xcb);
export const SHIFT_RIGHT_HALVES: Code = vector(0xcd);
export const ADD_HALVES: Code = vector(0xce);

const list = (items: readonly Code[]): Code => code(unsigned(items.length), ...items);
const section = (id: number, items: readonly Code[]): Code => code(id, unsigned(list(items).length), list(items));
const text = (value: string): Code => list(Array.from(value, (letter) => [letter.charCodeAt(0)]));

/** A function under construction: `parameters` of 32 bits are its first locals. */
export class WasmFunction {
  readonly parameters: readonly number[];
  /** Values of 32 bits it returns: 0 or 1. */
  readonly results: number;
  readonly #locals: number[] = [];
  #body: Code = [];

  constructor(parameters: number, results = 1) {
    this.parameters = Array.from({ length: parameters }, (_, index) => index);
    this.results = results;
  }

  /** `count` more locals, one behind the other. Returns the first. */
  locals(type: number, count: number): number {
    for (let i = 0; i < count; i++) this.#locals.push(type);
    return this.parameters.length + this.#locals.length - count;
  }

  returns(...body: (number | Code)[]): this {
    this.#body = code(...body);
    return this;
  }

  get type(): Code {
    const words = (count: number): Code => list(Array.from({ length: count }, () => [I32]));
    return code(0x60, words(this.parameters.length), words(this.results));
  }

  get bytes(): Code {
    const all = code(list(this.#locals.map((local) => [1, local])), this.#body, END);
    return code(unsigned(all.length), all);
  }
}

/**
 * The bytes of a module that exports `functions` by name and has `globals64` and then `globals` global variables of 64 and 32 bits;
 * with `importsMemory`, a shared memory is to be given to it as `{ table: { memory } }`.
 */
export function moduleBytes(
  functions: Readonly<Record<string, WasmFunction>>,
  needs: { readonly globals64?: number; readonly globals?: number; readonly importsMemory?: boolean },
): Uint8Array {
  const { globals64 = 0, globals = 0, importsMemory = false } = needs;
  const all = Object.values(functions);
  const variables = [
    ...Array.from({ length: globals64 }, () => code(I64, 1, constant64(0n), END)),
    ...Array.from({ length: globals }, () => code(I32, 1, constant(0), END)),
  ];
  const memory = code(text("table"), text("memory"), [2, 3], unsigned(1), unsigned(MOST_PAGES));
  return Uint8Array.from(
    code(
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(
        1,
        all.map((each) => each.type),
      ),
      importsMemory ? section(2, [memory]) : [],
      section(
        3,
        all.map((_, index) => [index]),
      ),
      section(6, variables),
      section(
        7,
        Object.keys(functions).map((name, index) => code(text(name), 0, index)),
      ),
      section(
        10,
        all.map((each) => each.bytes),
      ),
    ),
  );
}

const modules = new Map<() => Uint8Array, object>();

/** The exports of a new instance of the module of `bytes`, compiled once; undefined where there is no WebAssembly or a content security policy forbids it. */
export function instantiate(bytes: () => Uint8Array, memory?: object): unknown {
  if (typeof WebAssembly === "undefined") return undefined;
  try {
    let module = modules.get(bytes);
    if (module === undefined) modules.set(bytes, (module = new WebAssembly.Module(bytes())));
    return new WebAssembly.Instance(module, memory === undefined ? {} : { table: { memory } }).exports;
  } catch {
    return undefined;
  }
}

/** A `WebAssembly.Memory` that is shared. */
export interface WasmMemory {
  /** As large as the memory is now; older buffers stay as they were. */
  readonly buffer: SharedArrayBuffer;
  /** Adds pages. Returns how many there were. */
  grow(pages: number): number;
}

/** A shared memory of at least `bytes` that may grow by {@link SPARE_PAGES}; undefined where there is none. */
export function createWasmMemory(bytes: number): WasmMemory | undefined {
  if (typeof WebAssembly === "undefined") return undefined;
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  try {
    const maximum = Math.min(MOST_PAGES, pages + SPARE_PAGES);
    return new WebAssembly.Memory({ initial: pages, maximum, shared: true });
  } catch {
    return undefined;
  }
}

/** Makes a memory larger by at least `bytes`. Returns where they begin; undefined when it may not grow by so many. */
export function growWasmMemory(memory: WasmMemory, bytes: number): number | undefined {
  try {
    return memory.grow(Math.ceil(bytes / WASM_PAGE_BYTES)) * WASM_PAGE_BYTES;
  } catch {
    return undefined;
  }
}
