import { createHash } from "node:crypto";
import { crc16X25, crc32, crc32c, halfSipHash13, jhashBytes, sipHashBytes, toeplitz } from "@x/perf-cache";
import { checksumUpdate, internetChecksum } from "@x/proxy-dataplane";
import { CodedError } from "@x/smp";
import { Command } from "commander";
import { SimError } from "../errors.ts";
import { communityIdInput, type FlowTuple } from "./community-id.ts";
import { print, printJson, readInput } from "./input.ts";

/** One item of the file: an algorithm, and what it is given. Numbers are JSON numbers or hexadecimal text. */
type Vector = Readonly<Record<string, unknown>> & { readonly id: string; readonly algorithm: string };

interface Answer {
  readonly id: string;
  readonly algorithm: string;
  /** Hexadecimal of the hash's width; `null`: no such algorithm here. */
  readonly value: string | null;
}

/** `kernel-sim hash --vectors FILE [--json]`. */
export function hashCommand(): Command {
  return new Command("hash")
    .description(
      "hashes and checksums of the data path, of a list of inputs: Toeplitz, jhash, SipHash, CRC, Internet checksum, community id",
    )
    .requiredOption("--vectors <file>", "JSON: [{ id, algorithm, keyHex, inputHex, … }]")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  kernel-sim hash --vectors vectors.json --json")
    .action((options: { vectors: string; json?: boolean }) => {
      const answers = readVectors(options.vectors).map((vector, index) => answer(vector, index, options.vectors));
      if (options.json === true) printJson(answers);
      else print(answers.map(({ id, algorithm, value }) => `${value ?? "-"}  ${algorithm}  ${id}`).join("\n"));
    });
}

function readVectors(file: string): unknown[] {
  const text = new TextDecoder().decode(readInput(file));
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    throw new SimError("SIM_INPUT", "is not JSON", { file }, { cause });
  }
  if (!Array.isArray(list)) throw new SimError("SIM_INPUT", "is not a list of vectors", { file });
  return list;
}

function answer(item: unknown, index: number, file: string): Answer {
  try {
    const vector = item as Vector;
    if (typeof vector?.id !== "string" || typeof vector.algorithm !== "string") bad("a vector needs id and algorithm");
    const compute = ALGORITHMS.get(vector.algorithm);
    return { id: vector.id, algorithm: vector.algorithm, value: compute?.(vector) ?? null };
  } catch (cause) {
    if (!(cause instanceof CodedError)) throw cause;
    throw new SimError("SIM_INPUT", cause.message, { file, path: `/${index}` }, { cause });
  }
}

const word = (value: number): string => `0x${(value >>> 0).toString(16).padStart(8, "0")}`;
const half = (value: number): string => `0x${value.toString(16).padStart(4, "0")}`;

function sip(rounds: readonly [number, number], vector: Vector): Int32Array {
  const out = new Int32Array(2);
  sipHashBytes(rounds, bytes(vector, "keyHex"), bytes(vector, "inputHex"), out);
  return out;
}

const ALGORITHMS: ReadonlyMap<string, (vector: Vector) => string> = new Map<string, (vector: Vector) => string>([
  ["toeplitz", (v) => word(toeplitz(bytes(v, "keyHex"), bytes(v, "inputHex")))],
  ["jhash", (v) => word(jhashBytes(bytes(v, "inputHex"), integer(v, "init", 32)))],
  ["crc32c", (v) => word(crc32c(bytes(v, "inputHex"), integer(v, "init", 32)) ^ integer(v, "xorOut", 32))],
  ["crc32", (v) => word(crc32(bytes(v, "inputHex")))],
  ["crc16-x25", (v) => half(crc16X25(bytes(v, "inputHex")))],
  [
    "siphash-2-4",
    (v) => {
      const [low, high] = sip([2, 4], v);
      return `${word(high)}${word(low).slice(2)}`;
    },
  ],
  ["siphash-1-3-low32", (v) => word(sip([1, 3], v)[0])],
  ["halfsiphash-1-3", (v) => word(halfSipHash13(bytes(v, "keyHex"), bytes(v, "inputHex")))],
  ["internet-checksum", (v) => half(internetChecksum(bytes(v, "inputHex")))],
  [
    "checksum-update",
    (v) => half(checksumUpdate(integer(v, "checksum", 16), integer(v, "oldWord", 16), integer(v, "newWord", 16))),
  ],
  [
    "community-id",
    (v) =>
      `1:${createHash("sha1")
        .update(communityIdInput(v["tuple"] as FlowTuple, 0))
        .digest("base64")}`,
  ],
]);

function bytes(vector: Vector, name: string): Uint8Array {
  const text = vector[name];
  if (typeof text !== "string" || !/^([0-9a-f]{2})*$/i.test(text)) bad(`${name} is not a string of hexadecimal bytes`);
  return Buffer.from(text, "hex");
}

/** A number of `bits` bits, from a JSON number or hexadecimal text. */
function integer(vector: Vector, name: string, bits: number): number {
  const given = vector[name];
  const value = typeof given === "string" && /^0x[0-9a-f]+$/i.test(given) ? parseInt(given, 16) : given;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** bits) return value;
  return bad(`${name} is not a number of ${bits} bits`);
}

function bad(message: string): never {
  throw new SimError("SIM_INPUT", message);
}
