import { readFileSync } from "node:fs";
import { CodedError } from "@x/smp";
import { InvalidArgumentError } from "commander";
import { SimError } from "../errors.ts";

/** Largest input file: what fits one buffer comfortably. */
const MAX_INPUT_BYTES = 2 ** 31 - 1;

/** The bytes of an input file, or `SIM_INPUT` with its name. */
export function readInput(file: string): Uint8Array {
  try {
    const bytes = readFileSync(file);
    if (bytes.length <= MAX_INPUT_BYTES) return bytes;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new SimError("SIM_INPUT", `cannot be read (${code ?? "error"})`, { file }, { cause });
  }
  throw new SimError("SIM_INPUT", `is larger than ${MAX_INPUT_BYTES} bytes`, { file });
}

/** Name the file in an error of a parser that was only given its text. */
export function inFile<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (!(cause instanceof CodedError)) throw cause;
    throw new SimError("SIM_INPUT", cause.message, { file, ...cause.location }, { cause });
  }
}

/** For options that are whole numbers in a range. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`a whole number from ${least} to ${most} is expected.`);
  };
}

/** One JSON value on standard output. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Text on standard output. */
export function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}
