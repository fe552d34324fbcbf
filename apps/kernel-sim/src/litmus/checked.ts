import { SimError } from "../errors.ts";
import { ADDRESS_BASE } from "./instructions.ts";

/** A JSON object or list that has not been checked. */
export type Unchecked = Readonly<Record<string, unknown>>;

/** Throws `SIM_INPUT` at a place in the program. */
export function reject(path: string, message: string): never {
  throw new SimError("SIM_INPUT", message, { path: path === "" ? "/" : path });
}

/** The object at a place. */
export function objectAt(value: unknown, path: string): Unchecked {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Unchecked;
  return reject(path, "an object is expected");
}

/** The list at a place. */
export function listAt(value: unknown, path: string): readonly unknown[] {
  return Array.isArray(value) ? value : reject(path, "a list is expected");
}

/** The text at a place. */
export function textAt(value: unknown, path: string): string {
  return typeof value === "string" && value !== "" ? value : reject(path, "a text is expected");
}

/** The integer at a place. */
export function integerAt(value: unknown, path: string): number {
  if (Number.isSafeInteger(value) && Math.abs(value as number) < ADDRESS_BASE) return value as number;
  return reject(path, "an integer is expected");
}
