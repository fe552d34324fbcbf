import type { Codec } from "./codec.ts";
import { RcuError } from "./errors.ts";

/**
 * Kinds of numbers in a {@link StructLayout}, little-endian.
 *
 * @public
 */
export type StructNumber = "u8" | "u16" | "u32" | "i8" | "i16" | "i32" | "f32" | "f64";

/**
 * One field: a number, `bool` (one byte), text of at most so many bytes of UTF-8, an array of a fixed length, or a struct.
 *
 * @public
 */
export type StructField =
  | StructNumber
  | "bool"
  | { readonly utf8: number }
  | { readonly array: StructField; readonly length: number }
  | StructLayout;

/**
 * Fields by name, in the order of their bytes, without gaps. `array` and `utf8` are no names of fields.
 *
 * @public
 */
export interface StructLayout {
  readonly [name: string]: StructField;
}

/**
 * The value that a field holds.
 *
 * @public
 */
export type StructValue<Field> = Field extends StructNumber
  ? number
  : Field extends "bool"
    ? boolean
    : Field extends { readonly utf8: number }
      ? string
      : Field extends { readonly array: infer Element }
        ? readonly StructValue<Element>[]
        : { readonly [Name in keyof Field]: StructValue<Field[Name]> };

/** Text is preceded by its length in bytes. */
const LENGTH_BYTES = 4;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface FieldCodec {
  readonly bytes: number;
  write(view: DataView, at: number, value: unknown, path: string): void;
  read(view: DataView, at: number): unknown;
}

/**
 * Values as bytes of a fixed layout, for other programs to read in place too. Every value takes the same number of bytes.
 * `encode` throws `RCU_INVALID_ARGUMENT`, with the path of the field, for what the layout cannot hold exactly (`f32` rounds);
 * members without a field are left out. Throws the same for a layout that is none.
 *
 * @public
 */
export function structCodec<const Layout extends StructLayout>(layout: Layout): Codec<StructValue<Layout>> {
  const codec = structOf(layout, "");
  return {
    encode: (value) => {
      const bytes = new Uint8Array(codec.bytes);
      codec.write(new DataView(bytes.buffer), 0, value, "");
      return bytes;
    },
    decode: (bytes) =>
      codec.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0) as StructValue<Layout>,
  };
}

function fieldOf(field: StructField, path: string): FieldCodec {
  if (field === "bool") return bool;
  if (typeof field === "string") {
    if (!Object.hasOwn(numbers, field)) throw invalid(path, `${field} is no kind of field`);
    return numbers[field];
  }
  if ("utf8" in field && typeof field.utf8 === "number") return textOf(field.utf8, path);
  if ("array" in field && typeof field.length === "number") return arrayOf(field.array, field.length, path);
  return structOf(field as StructLayout, path);
}

function structOf(layout: StructLayout, path: string): FieldCodec {
  let bytes = 0;
  const fields = Object.entries(layout).map(([name, field]) => {
    const codec = fieldOf(field, `${path}/${name}`);
    const at = bytes;
    bytes += codec.bytes;
    return { name, codec, at };
  });
  if (fields.length === 0) throw invalid(path, "a struct needs a field");
  return {
    bytes,
    write: (view, base, value, where) => {
      if (typeof value !== "object" || value === null) throw invalid(where, "an object is needed");
      const members = value as Record<string, unknown>;
      for (const { name, codec, at } of fields) codec.write(view, base + at, members[name], `${where}/${name}`);
    },
    read: (view, base) => Object.fromEntries(fields.map(({ name, codec, at }) => [name, codec.read(view, base + at)])),
  };
}

function arrayOf(element: StructField, length: number, path: string): FieldCodec {
  if (!Number.isInteger(length) || length < 1) throw invalid(path, `${length} is no length of an array`);
  const codec = fieldOf(element, `${path}/0`);
  return {
    bytes: length * codec.bytes,
    write: (view, base, value, where) => {
      if (!Array.isArray(value) || value.length !== length) throw invalid(where, `an array of ${length} is needed`);
      value.forEach((each, index) => codec.write(view, base + index * codec.bytes, each, `${where}/${index}`));
    },
    read: (view, base) => Array.from({ length }, (_, index) => codec.read(view, base + index * codec.bytes)),
  };
}

function textOf(maxBytes: number, path: string): FieldCodec {
  if (!Number.isInteger(maxBytes) || maxBytes < 1) throw invalid(path, `${maxBytes} is no size of a text`);
  return {
    bytes: LENGTH_BYTES + maxBytes,
    write: (view, at, value, where) => {
      if (typeof value !== "string") throw invalid(where, "a text is needed");
      const text = encoder.encode(value);
      if (decoder.decode(text) !== value) throw invalid(where, "the text has a half of a surrogate pair");
      if (text.length > maxBytes) throw invalid(where, `the text takes ${text.length} bytes, ${maxBytes} are there`);
      view.setUint32(at, text.length, true);
      new Uint8Array(view.buffer, view.byteOffset + at + LENGTH_BYTES).set(text);
    },
    read: (view, at) => {
      const length = view.getUint32(at, true);
      if (length > maxBytes) throw invalid(path, `the text claims ${length} bytes, ${maxBytes} are there`);
      return decoder.decode(new Uint8Array(view.buffer, view.byteOffset + at + LENGTH_BYTES, length));
    },
  };
}

const bool: FieldCodec = {
  bytes: 1,
  write: (view, at, value, path) => {
    if (typeof value !== "boolean") throw invalid(path, "true or false is needed");
    view.setUint8(at, value ? 1 : 0);
  },
  read: (view, at) => view.getUint8(at) !== 0,
};

function integer(bits: 8 | 16 | 32, signed: boolean): FieldCodec {
  const least = signed ? -(2 ** (bits - 1)) : 0;
  const most = 2 ** (signed ? bits - 1 : bits) - 1;
  const kind = `${signed ? "Int" : "Uint"}${bits}` as const;
  return {
    bytes: bits / 8,
    write: (view, at, value, path) => {
      if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
        throw invalid(path, `an integer from ${least} to ${most} is needed`);
      }
      view[`set${kind}`](at, value as number, true);
    },
    read: (view, at) => view[`get${kind}`](at, true),
  };
}

function float(bits: 32 | 64): FieldCodec {
  return {
    bytes: bits / 8,
    write: (view, at, value, path) => {
      if (typeof value !== "number") throw invalid(path, "a number is needed");
      view[`setFloat${bits}`](at, value, true);
    },
    read: (view, at) => view[`getFloat${bits}`](at, true),
  };
}

const numbers: Readonly<Record<StructNumber, FieldCodec>> = {
  u8: integer(8, false),
  u16: integer(16, false),
  u32: integer(32, false),
  i8: integer(8, true),
  i16: integer(16, true),
  i32: integer(32, true),
  f32: float(32),
  f64: float(64),
};

function invalid(path: string, problem: string): RcuError {
  return new RcuError("RCU_INVALID_ARGUMENT", `${path === "" ? "the value" : path}: ${problem}`, { path });
}
