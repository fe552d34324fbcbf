import { CURRENT, ERA } from "./grace-period-layout.ts";
import { OFFLINE } from "./sequence.ts";

/*
 * The marks of a read section of flavour `memory-barrier`, twice: by Atomics, and as WebAssembly. What is one machine instruction there
 * is a call in JavaScript on today's engines, of some 7 ns on V8; two calls of WebAssembly take 5 ns each, with all they do.
 *
 * The end exchanges. A plain store would let the reads of the section move behind it; and what was there tells who waits.
 */

/** By index of a CPU's SEEN, see grace-period-layout.ts. */
export interface SectionMarks {
  /** SEEN becomes `known`. Returns 1 if CURRENT still is `known`, and ERA `era`, after that; else 0. */
  readonly enter: (at: number, known: number, era: number) => number;
  /** SEEN becomes OFFLINE. Returns what it was. */
  readonly leave: (at: number) => number;
}

export function marksByAtomics(words: Int32Array): SectionMarks {
  return {
    enter(at, known, era) {
      Atomics.store(words, at, known);
      return Atomics.load(words, CURRENT) === known && words[ERA] === era ? 1 : 0;
    },
    leave: (at) => Atomics.exchange(words, at, OFFLINE),
  };
}

interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}

/** What this file uses of the global object of that name; `undefined` where there is none. */
declare const WebAssembly:
  | {
      readonly Memory: new (limits: { initial: number; maximum: number; shared: true }) => WasmMemory;
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object, imports: object) => { exports: unknown };
    }
  | undefined;

const PAGE_BYTES = 65536;

/** Shared memory that WebAssembly can reach; undefined where there is none, or no address space for it. */
export function newWasmMemory(bytes: number): WasmMemory | undefined {
  if (typeof WebAssembly === "undefined") return undefined;
  const pages = Math.ceil(bytes / PAGE_BYTES);
  try {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    return memory.buffer instanceof SharedArrayBuffer ? memory : undefined;
  } catch {
    return undefined;
  }
}

/*
 * (module
 *   (import "" "" (memory 1 65536 shared))
 *   (func (export "enter") (param $at i32) (param $known i32) (param $era i32) (result i32)
 *     (i32.atomic.store (i32.shl (local.get $at) (i32.const 2)) (local.get $known))
 *     (i32.and
 *       (i32.eq (i32.atomic.load offset=(CURRENT) (i32.const 0)) (local.get $known))
 *       (i32.eq (i32.load offset=(ERA) (i32.const 0)) (local.get $era))))
 *   (func (export "leave") (param $at i32) (result i32)
 *     (i32.atomic.rmw.xchg (i32.shl (local.get $at) (i32.const 2)) (i32.const OFFLINE))))
 */
type Code = readonly number[];
const I32 = 0x7f;
const letters = (name: string): Code => [name.length, ...Array.from(name, (letter) => letter.charCodeAt(0))];
const sized = (...parts: Code[]): Code => [parts.flat().length, ...parts.flat()];
const section = (id: number, ...parts: Code[]): Code => [id, ...sized(...parts)];
const body = (...instructions: Code[]): Code => sized([0], ...instructions, [0x0b]);
const get = (local: number): Code => [0x20, local];
const constant = (value: number): Code => [0x41, value];
/** Alignment 2^2, and an offset below 128. */
const word = (index: number): Code => [2, index * 4];
const MAGIC_AND_VERSION: Code = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const SHIFT_LEFT: Code = [0x74];
const EQUAL: Code = [0x46];
const AND: Code = [0x71];
const LOAD = 0x28;
const ATOMIC_LOAD: Code = [0xfe, 0x10];
const ATOMIC_STORE: Code = [0xfe, 0x17];
const ATOMIC_EXCHANGE: Code = [0xfe, 0x41];
const address: Code = [...get(0), ...constant(2), ...SHIFT_LEFT];

function moduleBytes(): Uint8Array {
  const enter = body(
    [...address, ...get(1), ...ATOMIC_STORE, ...word(0)],
    [...constant(0), ...ATOMIC_LOAD, ...word(CURRENT), ...get(1), ...EQUAL],
    [...constant(0), LOAD, ...word(ERA), ...get(2), ...EQUAL, ...AND],
  );
  const leave = body([...address, ...constant(OFFLINE), ...ATOMIC_EXCHANGE, ...word(0)]);
  return Uint8Array.from([
    ...MAGIC_AND_VERSION,
    ...section(1, [2], [0x60, 3, I32, I32, I32, 1, I32], [0x60, 1, I32, 1, I32]),
    ...section(2, [1], letters(""), letters(""), [0x02, 0x03, 1, 0x80, 0x80, 0x04]),
    ...section(3, [2, 0, 1]),
    ...section(7, [2], letters("enter"), [0, 0], letters("leave"), [0, 1]),
    ...section(10, [2], enter, leave),
  ]);
}

let compiled: object | undefined;

/** The marks in a memory of {@link newWasmMemory}; undefined where a content security policy forbids WebAssembly. */
export function marksByWasm(memory: object): SectionMarks | undefined {
  if (typeof WebAssembly === "undefined") return undefined;
  try {
    compiled ??= new WebAssembly.Module(moduleBytes());
    return new WebAssembly.Instance(compiled, { "": { "": memory } }).exports as SectionMarks;
  } catch {
    return undefined;
  }
}
