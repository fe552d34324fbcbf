import { parseAddress } from "@x/proxy-dataplane";
import { SimError } from "../errors.ts";

/** The ends of a flow. For ICMP the ports are type and code, or type and the answer's type. */
export interface FlowTuple {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly protocol: number;
}

/** ICMP types that answer each other; all others go one way. */
const ICMP_PAIRS: readonly (readonly [number, number])[] = [
  [8, 0],
  [13, 14],
  [15, 16],
  [17, 18],
  [10, 9],
];
const ICMP6_PAIRS: readonly (readonly [number, number])[] = [
  [128, 129],
  [130, 131],
  [133, 134],
  [135, 136],
  [139, 140],
  [144, 145],
];
const ICMP = 1;
const ICMP6 = 58;

function answerOf(pairs: readonly (readonly [number, number])[], type: number): number {
  for (const [asks, answers] of pairs) {
    if (type === asks) return answers;
    if (type === answers) return asks;
  }
  return -1;
}

function addressBytes(text: unknown): Buffer {
  const words = new Int32Array(4);
  const family = typeof text === "string" ? parseAddress(text, words, 0) : 0;
  if (family === 0) throw new SimError("SIM_INPUT", `tuple: ${String(text)} is not an address`);
  const bytes = Buffer.alloc(16);
  for (let i = 0; i < 4; i++) bytes.writeInt32BE(words[i], i * 4);
  return bytes.subarray(0, family === 4 ? 4 : 16);
}

function port(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffff) return value;
  throw new SimError("SIM_INPUT", `tuple: ${String(value)} is not a port`);
}

/**
 * What Community ID version 1 (Corelight, «Community ID Flow Hashing») takes the SHA-1 of: seed, ends in ascending order unless the flow goes
 * one way, protocol.
 */
export function communityIdInput(tuple: FlowTuple | undefined, seed: number): Uint8Array {
  if (typeof tuple !== "object" || tuple === null) throw new SimError("SIM_INPUT", "tuple is missing");
  const { protocol } = tuple;
  const source = addressBytes(tuple.source);
  const destination = addressBytes(tuple.destination);
  const from = port(tuple.sourcePort);
  let to = port(tuple.destinationPort);
  let oneWay = false;
  if (protocol === ICMP || protocol === ICMP6) {
    const answer = answerOf(protocol === ICMP ? ICMP_PAIRS : ICMP6_PAIRS, from);
    oneWay = answer < 0;
    if (!oneWay) to = answer;
  }
  const order = Buffer.compare(source, destination);
  const swap = !oneWay && (order > 0 || (order === 0 && from > to));
  const rest = Buffer.alloc(6);
  rest[0] = protocol;
  rest.writeUInt16BE(swap ? to : from, 2);
  rest.writeUInt16BE(swap ? from : to, 4);
  const head = Buffer.from([seed >>> 8, seed & 0xff]);
  return Buffer.concat([head, swap ? destination : source, swap ? source : destination, rest]);
}
