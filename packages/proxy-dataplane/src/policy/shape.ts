import { DataplaneError } from "../errors.ts";

/**
 * What a value must look like. One description serves the validator ({@link checkShape}) and the JSON Schema
 * ({@link schemaOf}), so that they cannot disagree.
 */
export type Shape =
  | {
      readonly kind: "object";
      readonly members: Readonly<Record<string, Shape>>;
      readonly required?: readonly string[];
    }
  | { readonly kind: "map"; readonly key: Shape & { kind: "text" }; readonly value: Shape; readonly most: number }
  | { readonly kind: "array"; readonly item: Shape; readonly least?: number; readonly most: number }
  | { readonly kind: "integer"; readonly least: number; readonly most: number }
  | { readonly kind: "boolean" }
  | { readonly kind: "choice"; readonly values: readonly (string | number)[] }
  | {
      readonly kind: "text";
      readonly what: string;
      readonly most: number;
      readonly least?: number;
      /** What the schema can say. */
      readonly pattern?: string;
      /** The rest. */
      readonly accepts?: (text: string) => boolean;
    }
  | { readonly kind: "either"; readonly shapes: readonly Shape[] };

/** Throws `DATAPLANE_INVALID_CONFIG` with the JSON pointer of the first member that does not fit. */
export function checkShape(shape: Shape, value: unknown, path: string): void {
  switch (shape.kind) {
    case "object":
      return checkObject(shape, value, path);
    case "map":
      return checkMap(shape, value, path);
    case "array":
      return checkArray(shape, value, path);
    case "either":
      if (shape.shapes.some((one) => fits(one, value))) return;
      break;
    default:
      if (fitsScalar(shape, value)) return;
  }
  throw invalidConfig(path, `${show(value)} is not ${describe(shape)}`);
}

/** The error of a configuration that is wrong at `path`, a JSON pointer. */
export function invalidConfig(path: string, message: string): DataplaneError {
  return new DataplaneError("DATAPLANE_INVALID_CONFIG", message, { path });
}

function fits(shape: Shape, value: unknown): boolean {
  try {
    checkShape(shape, value, "");
    return true;
  } catch (error) {
    if (error instanceof DataplaneError) return false;
    throw error;
  }
}

type Of<Kind extends Shape["kind"]> = Shape & { kind: Kind };

function checkObject(shape: Of<"object">, value: unknown, path: string): void {
  const members = membersOf(value, path);
  for (const name of shape.required ?? []) {
    if (members[name] === undefined) throw invalidConfig(`${path}/${name}`, `${name} is missing`);
  }
  for (const [name, member] of Object.entries(members)) {
    const inner = `${path}/${escapePointer(name)}`;
    if (!Object.hasOwn(shape.members, name)) throw invalidConfig(inner, `there is no member ${show(name)}`);
    if (member !== undefined) checkShape(shape.members[name], member, inner);
  }
}

function checkMap(shape: Of<"map">, value: unknown, path: string): void {
  const entries = Object.entries(membersOf(value, path));
  if (entries.length > shape.most) throw invalidConfig(path, `${entries.length} members; at most ${shape.most}`);
  for (const [name, member] of entries) {
    const inner = `${path}/${escapePointer(name)}`;
    checkShape(shape.key, name, inner);
    checkShape(shape.value, member, inner);
  }
}

function checkArray(shape: Of<"array">, value: unknown, path: string): void {
  if (!Array.isArray(value)) throw invalidConfig(path, `${show(value)} is not a list`);
  const { least = 0, most } = shape;
  if (value.length < least || value.length > most) {
    throw invalidConfig(path, `a list of ${value.length}; ${least} to ${most} are possible`);
  }
  // Not forEach, which passes over holes.
  for (let index = 0; index < value.length; index++) checkShape(shape.item, value[index], `${path}/${index}`);
}

function membersOf(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidConfig(path, `${show(value)} is not an object`);
  }
  return value as Record<string, unknown>;
}

function fitsScalar(shape: Of<"integer" | "boolean" | "choice" | "text">, value: unknown): boolean {
  switch (shape.kind) {
    case "boolean":
      return typeof value === "boolean";
    case "integer":
      return Number.isInteger(value) && (value as number) >= shape.least && (value as number) <= shape.most;
    case "choice":
      return shape.values.includes(value as string);
    default:
      return (
        typeof value === "string" &&
        codePoints(value) >= (shape.least ?? 1) &&
        codePoints(value) <= shape.most &&
        (shape.pattern === undefined || new RegExp(shape.pattern, "u").test(value)) &&
        (shape.accepts?.(value) ?? true)
      );
  }
}

/** Length as JSON Schema counts it. */
function codePoints(text: string): number {
  return Array.from(text).length;
}

function describe(shape: Shape): string {
  switch (shape.kind) {
    case "integer":
      return `an integer from ${shape.least} to ${shape.most}`;
    case "boolean":
      return "true or false";
    case "choice":
      return `one of ${shape.values.join(", ")}`;
    case "text":
      return shape.what;
    case "either":
      return shape.shapes.map(describe).join(" or ");
    default:
      return shape.kind === "array" ? "a list" : "an object";
  }
}

/** A value in a message: one line, not long. */
function show(value: unknown): string {
  const text =
    typeof value === "string" ? JSON.stringify(value) : value === undefined ? "nothing" : JSON.stringify(value);
  return text === undefined ? typeof value : text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** RFC 6901. */
function escapePointer(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** The JSON Schema (draft 7) of a shape, without what `accepts` asks for. */
export function schemaOf(shape: Shape): object {
  switch (shape.kind) {
    case "object":
      return {
        type: "object",
        additionalProperties: false,
        ...(shape.required === undefined ? {} : { required: shape.required }),
        properties: Object.fromEntries(Object.entries(shape.members).map(([name, inner]) => [name, schemaOf(inner)])),
      };
    case "map":
      return {
        type: "object",
        maxProperties: shape.most,
        propertyNames: schemaOf(shape.key),
        additionalProperties: schemaOf(shape.value),
      };
    case "array":
      return { type: "array", minItems: shape.least ?? 0, maxItems: shape.most, items: schemaOf(shape.item) };
    case "integer":
      return { type: "integer", minimum: shape.least, maximum: shape.most };
    case "boolean":
      return { type: "boolean" };
    case "choice":
      return { enum: shape.values };
    case "either":
      return { anyOf: shape.shapes.map(schemaOf) };
    default:
      return {
        type: "string",
        minLength: shape.least ?? 1,
        maxLength: shape.most,
        ...(shape.pattern === undefined ? {} : { pattern: shape.pattern }),
        description: shape.what,
      };
  }
}
