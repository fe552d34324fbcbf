import { type Hal, soloHal, SpinLocks, type SpinLocksHandle } from "@x/smp";
import { requireInteger } from "./errors.ts";

/*
 * Names live in one append-only arena; a symbol's id is its rank:
 *
 *   words:  [ count | overflowed | end 0 | end 1 | end 2 | …                ]    end i: where the text of symbol i ends
 *   bytes:  [ text of symbol 0 | text of symbol 1 | …                       ]    text: name, or name NUL module, UTF-8
 *
 * Lock rule: `lock` guards appending. Readers take no lock: `count` is stored last, by Atomics, and what lies below it never
 * changes again. Every thread mirrors the table in JavaScript objects, up to the count it has seen.
 */
const COUNT = 0;
const OVERFLOWED = 1;
const ENDS = 2;
const SEPARATOR = "\0";

const DEFAULT_CAPACITY = 16_384;
const DEFAULT_BYTES = 1 << 20;
const CAPACITY_LIMIT = 1 << 24;
const BYTES_LIMIT = 1 << 30;

/**
 * Id of the symbol that stands for everything without a name; its name is `[unknown]`.
 *
 * @public
 */
export const UNKNOWN_SYMBOL = 0;

/**
 * What joins a {@link SymbolTable} from another thread.
 *
 * @public
 */
export interface SymbolTableHandle {
  readonly words: SharedArrayBuffer;
  readonly bytes: SharedArrayBuffer;
  readonly lock: SpinLocksHandle;
}

/**
 * Function names by small integers, the same ones on every thread. A symbol is a name and optionally the module it belongs to.
 *
 * Thread-safety: all methods from any thread. Cost: one map look-up for a known name; a new one takes a lock.
 * A full table answers {@link UNKNOWN_SYMBOL} and counts that in `overflowed`.
 *
 * @public
 */
export class SymbolTable {
  readonly handle: SymbolTableHandle;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #lock: SpinLocks;
  readonly #texts: string[] = [];
  readonly #ids = new Map<string, number>();
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder();

  private constructor(handle: SymbolTableHandle, hal: Hal) {
    this.handle = handle;
    this.#words = new Int32Array(handle.words);
    this.#bytes = new Uint8Array(handle.bytes);
    this.#lock = SpinLocks.attach(handle.lock, { hal });
  }

  /**
   * A table that holds up to `capacity` symbols (default 16384) whose texts take up to `bytes` bytes (default 1 MiB).
   * Throws `PROFILING_INVALID_ARGUMENT`.
   */
  static create(
    options: { readonly hal?: Hal; readonly capacity?: number; readonly bytes?: number } = {},
  ): SymbolTable {
    const { hal = soloHal(), capacity = DEFAULT_CAPACITY, bytes = DEFAULT_BYTES } = options;
    requireInteger("the capacity of a symbol table", capacity, 1, CAPACITY_LIMIT);
    requireInteger("the text size of a symbol table", bytes, 16, BYTES_LIMIT);
    const handle: SymbolTableHandle = {
      words: new SharedArrayBuffer((ENDS + capacity) * 4),
      bytes: new SharedArrayBuffer(bytes),
      lock: SpinLocks.create({ name: "symbol-table", hal }).handle,
    };
    const table = new SymbolTable(handle, hal);
    table.intern("[unknown]");
    return table;
  }

  static attach(handle: SymbolTableHandle, options: { readonly hal: Hal }): SymbolTable {
    return new SymbolTable(handle, options.hal);
  }

  /** The id of `name` in `module` (default: none); a new one on first sight. */
  intern(name: string, module = ""): number {
    const text = module === "" ? name : name + SEPARATOR + module;
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    this.#lock.lock();
    try {
      this.#mirror();
      return this.#ids.get(text) ?? this.#append(text);
    } finally {
      this.#lock.unlock();
    }
  }

  /** The name behind an id; `[unknown]` for an id that was never given out. */
  name(id: number): string {
    const text = this.#text(id);
    const separator = text.indexOf(SEPARATOR);
    return separator < 0 ? text : text.slice(0, separator);
  }

  /** The module behind an id; empty where none was given. */
  module(id: number): string {
    const text = this.#text(id);
    const separator = text.indexOf(SEPARATOR);
    return separator < 0 ? "" : text.slice(separator + 1);
  }

  /** Symbols given out so far, {@link UNKNOWN_SYMBOL} included. */
  get count(): number {
    return Atomics.load(this.#words, COUNT);
  }

  /** How often a new symbol found the table full. */
  get overflowed(): number {
    return Atomics.load(this.#words, OVERFLOWED) >>> 0;
  }

  #text(id: number): string {
    if (id >= this.#texts.length) this.#mirror();
    return this.#texts[id] ?? this.#texts[UNKNOWN_SYMBOL];
  }

  #mirror(): void {
    const count = this.count;
    for (let id = this.#texts.length; id < count; id++) {
      // Copied out of the shared buffer first: TextDecoder takes no shared memory in browsers.
      const text = this.#decoder.decode(this.#bytes.slice(this.#end(id - 1), this.#end(id)));
      this.#texts.push(text);
      this.#ids.set(text, id);
    }
  }

  #end(id: number): number {
    return id < 0 ? 0 : this.#words[ENDS + id];
  }

  /** Holds the lock, and the mirror is up to date. */
  #append(text: string): number {
    const id = this.#texts.length;
    const encoded = this.#encoder.encode(text);
    const start = this.#end(id - 1);
    if (ENDS + id >= this.#words.length || start + encoded.length > this.#bytes.length) {
      Atomics.add(this.#words, OVERFLOWED, 1);
      return UNKNOWN_SYMBOL;
    }
    this.#bytes.set(encoded, start);
    this.#words[ENDS + id] = start + encoded.length;
    Atomics.store(this.#words, COUNT, id + 1);
    this.#texts.push(text);
    this.#ids.set(text, id);
    return id;
  }
}
