import { SmpError } from "../errors.ts";
import type { Hal } from "../hal.ts";
import { SpinLocks, type SpinLocksHandle } from "./spin-locks.ts";

/*
 *   word 0   how many names there are; stored under the lock, after the name
 *   from byte 128 on, one slot a name: its length in bytes, then up to NAME_BYTES of UTF-8
 */
const HEADER_BYTES = 128;
const SLOT_BYTES = 128;
const NAME_BYTES: number = SLOT_BYTES - 4;

/** What joins a table of names from another thread. @public */
export interface SharedNamesHandle {
  readonly capacity: number;
  readonly memory: SharedArrayBuffer;
  readonly lock: SpinLocksHandle;
}

/** Numbers for names, the same on all threads. Numbers count from 0; of a long name the last 124 bytes count. */
export class SharedNames {
  readonly handle: SharedNamesHandle;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #lock: SpinLocks;
  readonly #numbers = new Map<string, number>();
  readonly #names: string[] = [];

  private constructor(handle: SharedNamesHandle, hal: Hal) {
    this.handle = handle;
    this.#words = new Int32Array(handle.memory);
    this.#bytes = new Uint8Array(handle.memory);
    this.#lock = SpinLocks.attach(handle.lock, { hal });
  }

  static create(capacity: number, hal: Hal): SharedNames {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `room for ${capacity} names; at least 1 is needed`);
    }
    const memory = new SharedArrayBuffer(HEADER_BYTES + capacity * SLOT_BYTES);
    return new SharedNames({ capacity, memory, lock: SpinLocks.create({ name: "names", hal }).handle }, hal);
  }

  static attach(handle: SharedNamesHandle, hal: Hal): SharedNames {
    return new SharedNames(handle, hal);
  }

  get size(): number {
    return Atomics.load(this.#words, 0);
  }

  /** The number of `name`, a new one if need be; the last number of all if there is no room. */
  number(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const bytes = new TextEncoder().encode(name).slice(-NAME_BYTES);
    const number = this.#find(new TextDecoder().decode(bytes), bytes);
    this.#numbers.set(name, number);
    return number;
  }

  name(number: number): string {
    return (this.#names[number] ??= this.#decode(number));
  }

  #find(name: string, bytes: Uint8Array): number {
    this.#lock.lock();
    try {
      return this.#findLocked(name, bytes);
    } finally {
      this.#lock.unlock();
    }
  }

  #findLocked(name: string, bytes: Uint8Array): number {
    const { size } = this;
    for (let number = 0; number < size; number++) if (this.name(number) === name) return number;
    if (size === this.handle.capacity) return size - 1;
    const at = HEADER_BYTES + size * SLOT_BYTES;
    this.#words[at / 4] = bytes.length;
    this.#bytes.set(bytes, at + 4);
    Atomics.store(this.#words, 0, size + 1);
    return size;
  }

  #decode(number: number): string {
    const at = HEADER_BYTES + number * SLOT_BYTES;
    return new TextDecoder().decode(this.#bytes.slice(at + 4, at + 4 + this.#words[at / 4]).slice());
  }
}
