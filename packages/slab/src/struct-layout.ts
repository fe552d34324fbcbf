import { alignUp } from "./geometry.ts";
import { SlabError } from "./errors.ts";
import { Bytes, F32, F64, I16, I32, I8, U16, U16be, U32, U32be, U64, U64be, U8, Views } from "./struct-fields.ts";
import type { BytesField, NumberField, WordField } from "./struct-fields.ts";

/** Bytes (and alignment, but for network order, which is aligned to 1) and accessor of each kind. */
const KINDS = {
  i8: { bytes: 1, align: 1, make: (views: Views, offset: number): NumberField => new I8(views.i8, offset) },
  u8: { bytes: 1, align: 1, make: (views: Views, offset: number): NumberField => new U8(views.u8, offset) },
  i16: { bytes: 2, align: 2, make: (views: Views, offset: number): NumberField => new I16(views.i16, offset) },
  u16: { bytes: 2, align: 2, make: (views: Views, offset: number): NumberField => new U16(views.u16, offset) },
  u16be: { bytes: 2, align: 1, make: (views: Views, offset: number): NumberField => new U16be(views.u8, offset) },
  i32: { bytes: 4, align: 4, make: (views: Views, offset: number): WordField => new I32(views.i32, offset) },
  u32: { bytes: 4, align: 4, make: (views: Views, offset: number): WordField => new U32(views.u32, offset) },
  u32be: { bytes: 4, align: 1, make: (views: Views, offset: number): NumberField => new U32be(views.u8, offset) },
  u64: { bytes: 8, align: 8, make: (views: Views, offset: number): NumberField => new U64(views.u32, offset) },
  u64be: { bytes: 8, align: 1, make: (views: Views, offset: number): NumberField => new U64be(views.u8, offset) },
  f32: { bytes: 4, align: 4, make: (views: Views, offset: number): NumberField => new F32(views.f32, offset) },
  f64: { bytes: 8, align: 8, make: (views: Views, offset: number): NumberField => new F64(views.f64, offset) },
} as const;

/**
 * Kind of a number in a struct: signed, unsigned and floating by bits, in the order of the host (little-endian wherever
 * JavaScript runs today); `be` in network order. `u64` and `u64be` are exact up to 2^53.
 *
 * @public
 */
export type NumberKind =
  "i8" | "u8" | "i16" | "u16" | "u16be" | "i32" | "u32" | "u32be" | "u64" | "u64be" | "f32" | "f64";

/**
 * A field of a struct: a number, or a run of bytes.
 *
 * @public
 */
export type FieldKind = NumberKind | { readonly bytes: number };

/**
 * What gives access to a field of some kind.
 *
 * @public
 */
export type FieldAccess<Kind extends FieldKind> = Kind extends "i32" | "u32"
  ? WordField
  : Kind extends NumberKind
    ? NumberField
    : BytesField;

/**
 * Access to the fields of objects in one buffer, by name.
 *
 * @public
 */
export type StructAccess<Fields extends Readonly<Record<string, FieldKind>>> = {
  readonly [Name in keyof Fields]: FieldAccess<Fields[Name]>;
};

/**
 * Where the fields of an object lie, from {@link structLayout}.
 *
 * @public
 */
export interface StructLayout<Fields extends Readonly<Record<string, FieldKind>>> {
  /** Bytes of an object: `objectSize` of its cache. */
  readonly size: number;
  /** Alignment the fields need, 1 to 8. */
  readonly align: number;
  /** Bytes from the start of an object to each field, for index arithmetic of your own. */
  readonly offsets: { readonly [Name in keyof Fields]: number };
  /** Accessors for the objects in `buffer`; once per thread. Each access is an addition, a shift and a load or store. */
  on(buffer: SharedArrayBuffer): StructAccess<Fields>;
}

/**
 * Declare the layout of objects: fields in the order given, each aligned to its size as C does. Nothing is allocated per
 * object, and no view is made.
 *
 * Throws `SLAB_INVALID_ARGUMENT`.
 *
 * @public
 */
export function structLayout<const Fields extends Readonly<Record<string, FieldKind>>>(
  fields: Fields,
): StructLayout<Fields> {
  const offsets: Record<string, number> = {};
  let end = 0;
  let align = 1;
  for (const [name, kind] of Object.entries(fields)) {
    const shape = shapeOf(name, kind);
    offsets[name] = alignUp(end, shape.align);
    end = offsets[name] + shape.bytes;
    align = Math.max(align, shape.align);
  }
  if (end === 0) throw new SlabError("SLAB_INVALID_ARGUMENT", "a struct needs a field");
  return {
    size: alignUp(end, align),
    align,
    offsets: offsets as { readonly [Name in keyof Fields]: number },
    on: (buffer) => {
      const views = new Views(buffer);
      const access = Object.entries(fields).map(([name, kind]) => [
        name,
        typeof kind === "string"
          ? KINDS[kind].make(views, offsets[name])
          : new Bytes(views.u8, offsets[name], kind.bytes),
      ]);
      return Object.fromEntries(access) as StructAccess<Fields>;
    },
  };
}

function shapeOf(name: string, kind: FieldKind): { readonly bytes: number; readonly align: number } {
  if (typeof kind === "string" && Object.hasOwn(KINDS, kind)) return KINDS[kind];
  if (typeof kind === "object" && Number.isInteger(kind.bytes) && kind.bytes > 0)
    return { bytes: kind.bytes, align: 1 };
  throw new SlabError("SLAB_INVALID_ARGUMENT", `field ${name} is of no known kind: ${JSON.stringify(kind)}`);
}
