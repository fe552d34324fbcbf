import { SlabError } from "./errors.ts";

/*
 * One class per kind, each over one type of view, so that the engine sees one type at each access and inlines it to an
 * addition, a shift and a load or store.
 */

/** Views over one shared buffer; made once per binding, shared by its fields. */
export class Views {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;

  constructor(buffer: SharedArrayBuffer) {
    if (buffer.byteLength % 8 !== 0)
      throw new SlabError("SLAB_INVALID_ARGUMENT", "the buffer is not a multiple of 8 bytes");
    this.i8 = new Int8Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.i16 = new Int16Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }
}

/**
 * A number inside an object: `get` and `set` are plain loads and stores. `object` is the byte offset of the object.
 *
 * @public
 */
export interface NumberField {
  /** Bytes from the start of the object. */
  readonly offset: number;
  get(object: number): number;
  set(object: number, value: number): void;
  /** `value` may be negative; wraps like the type. Plain: for one writer at a time. */
  add(object: number, value: number): void;
}

/**
 * A 32-bit word inside an object that threads may share: beside the plain accesses, the operations of `Atomics`.
 *
 * @public
 */
export interface WordField extends NumberField {
  load(object: number): number;
  store(object: number, value: number): void;
  /** Returns the value before. */
  fetchAdd(object: number, value: number): number;
  /** Returns the value before: `expected` if it was replaced. */
  compareExchange(object: number, expected: number, value: number): number;
}

/**
 * A run of bytes inside an object.
 *
 * @public
 */
export interface BytesField {
  readonly offset: number;
  readonly length: number;
  get(object: number, index: number): number;
  set(object: number, index: number, value: number): void;
  /** Copy `source` to the start of the field; throws `SLAB_INVALID_ARGUMENT` if it is longer. */
  copyFrom(object: number, source: Uint8Array): void;
  /** Copy the field to the start of `target`. */
  copyTo(object: number, target: Uint8Array): void;
}

abstract class Field<View> {
  readonly offset: number;
  protected readonly view: View;

  constructor(view: View, offset: number) {
    this.view = view;
    this.offset = offset;
  }
}

export class I8 extends Field<Int8Array> implements NumberField {
  get(object: number): number {
    return this.view[object + this.offset];
  }
  set(object: number, value: number): void {
    this.view[object + this.offset] = value;
  }
  add(object: number, value: number): void {
    this.view[object + this.offset] += value;
  }
}

export class U8 extends Field<Uint8Array> implements NumberField {
  get(object: number): number {
    return this.view[object + this.offset];
  }
  set(object: number, value: number): void {
    this.view[object + this.offset] = value;
  }
  add(object: number, value: number): void {
    this.view[object + this.offset] += value;
  }
}

export class I16 extends Field<Int16Array> implements NumberField {
  get(object: number): number {
    return this.view[(object + this.offset) >> 1];
  }
  set(object: number, value: number): void {
    this.view[(object + this.offset) >> 1] = value;
  }
  add(object: number, value: number): void {
    this.view[(object + this.offset) >> 1] += value;
  }
}

export class U16 extends Field<Uint16Array> implements NumberField {
  get(object: number): number {
    return this.view[(object + this.offset) >> 1];
  }
  set(object: number, value: number): void {
    this.view[(object + this.offset) >> 1] = value;
  }
  add(object: number, value: number): void {
    this.view[(object + this.offset) >> 1] += value;
  }
}

/** Network order, as in packets. */
export class U16be extends Field<Uint8Array> implements NumberField {
  get(object: number): number {
    const at = object + this.offset;
    return (this.view[at] << 8) | this.view[at + 1];
  }
  set(object: number, value: number): void {
    const at = object + this.offset;
    this.view[at] = value >> 8;
    this.view[at + 1] = value;
  }
  add(object: number, value: number): void {
    this.set(object, this.get(object) + value);
  }
}

export class I32 extends Field<Int32Array> implements WordField {
  get(object: number): number {
    return this.view[(object + this.offset) >> 2];
  }
  set(object: number, value: number): void {
    this.view[(object + this.offset) >> 2] = value;
  }
  add(object: number, value: number): void {
    this.view[(object + this.offset) >> 2] += value;
  }
  load(object: number): number {
    return Atomics.load(this.view, (object + this.offset) >> 2);
  }
  store(object: number, value: number): void {
    Atomics.store(this.view, (object + this.offset) >> 2, value);
  }
  fetchAdd(object: number, value: number): number {
    return Atomics.add(this.view, (object + this.offset) >> 2, value);
  }
  compareExchange(object: number, expected: number, value: number): number {
    return Atomics.compareExchange(this.view, (object + this.offset) >> 2, expected, value);
  }
}

export class U32 extends Field<Uint32Array> implements WordField {
  get(object: number): number {
    return this.view[(object + this.offset) >> 2];
  }
  set(object: number, value: number): void {
    this.view[(object + this.offset) >> 2] = value;
  }
  add(object: number, value: number): void {
    this.view[(object + this.offset) >> 2] += value;
  }
  load(object: number): number {
    return Atomics.load(this.view, (object + this.offset) >> 2);
  }
  store(object: number, value: number): void {
    Atomics.store(this.view, (object + this.offset) >> 2, value);
  }
  fetchAdd(object: number, value: number): number {
    return Atomics.add(this.view, (object + this.offset) >> 2, value);
  }
  compareExchange(object: number, expected: number, value: number): number {
    return Atomics.compareExchange(this.view, (object + this.offset) >> 2, expected, value);
  }
}

/** Network order, as in packets. */
export class U32be extends Field<Uint8Array> implements NumberField {
  get(object: number): number {
    const at = object + this.offset;
    const view = this.view;
    return ((view[at] << 24) | (view[at + 1] << 16) | (view[at + 2] << 8) | view[at + 3]) >>> 0;
  }
  set(object: number, value: number): void {
    const at = object + this.offset;
    this.view[at] = value >>> 24;
    this.view[at + 1] = value >>> 16;
    this.view[at + 2] = value >>> 8;
    this.view[at + 3] = value;
  }
  add(object: number, value: number): void {
    this.set(object, this.get(object) + value);
  }
}

/**
 * A 64-bit counter without BigInt: low word, high word. Values are doubles, exact up to 2^53; `add` carries.
 */
export class U64 extends Field<Uint32Array> implements NumberField {
  get(object: number): number {
    const at = (object + this.offset) >> 2;
    return this.view[at + 1] * 2 ** 32 + this.view[at];
  }
  set(object: number, value: number): void {
    const at = (object + this.offset) >> 2;
    this.view[at + 1] = Math.floor(value / 2 ** 32);
    this.view[at] = value;
  }
  add(object: number, value: number): void {
    const at = (object + this.offset) >> 2;
    const sum = this.view[at] + value;
    this.view[at] = sum;
    if (sum >= 2 ** 32 || sum < 0) this.view[at + 1] += Math.floor(sum / 2 ** 32);
  }
}

/** {@link U64} in network order. */
export class U64be extends Field<Uint8Array> implements NumberField {
  readonly #high: U32be;
  readonly #low: U32be;

  constructor(view: Uint8Array, offset: number) {
    super(view, offset);
    this.#high = new U32be(view, offset);
    this.#low = new U32be(view, offset + 4);
  }
  get(object: number): number {
    return this.#high.get(object) * 2 ** 32 + this.#low.get(object);
  }
  set(object: number, value: number): void {
    this.#high.set(object, Math.floor(value / 2 ** 32));
    this.#low.set(object, value);
  }
  add(object: number, value: number): void {
    const sum = this.#low.get(object) + value;
    this.#low.set(object, sum);
    if (sum >= 2 ** 32 || sum < 0) this.#high.add(object, Math.floor(sum / 2 ** 32));
  }
}

export class F32 extends Field<Float32Array> implements NumberField {
  get(object: number): number {
    return this.view[(object + this.offset) >> 2];
  }
  set(object: number, value: number): void {
    this.view[(object + this.offset) >> 2] = value;
  }
  add(object: number, value: number): void {
    this.view[(object + this.offset) >> 2] += value;
  }
}

export class F64 extends Field<Float64Array> implements NumberField {
  get(object: number): number {
    return this.view[(object + this.offset) >> 3];
  }
  set(object: number, value: number): void {
    this.view[(object + this.offset) >> 3] = value;
  }
  add(object: number, value: number): void {
    this.view[(object + this.offset) >> 3] += value;
  }
}

export class Bytes extends Field<Uint8Array> implements BytesField {
  readonly length: number;

  constructor(view: Uint8Array, offset: number, length: number) {
    super(view, offset);
    this.length = length;
  }
  get(object: number, index: number): number {
    return this.view[object + this.offset + index];
  }
  set(object: number, index: number, value: number): void {
    this.view[object + this.offset + index] = value;
  }
  copyFrom(object: number, source: Uint8Array): void {
    if (source.length > this.length) {
      throw new SlabError("SLAB_INVALID_ARGUMENT", `${source.length} bytes do not fit a field of ${this.length}`);
    }
    this.view.set(source, object + this.offset);
  }
  copyTo(object: number, target: Uint8Array): void {
    for (let i = 0; i < this.length; i++) target[i] = this.view[object + this.offset + i];
  }
}
