import type { FlowTable } from "@x/perf-cache";
import { REPLY } from "../connection-layout.ts";
import { isEcho, type FlowTarget } from "./flow-target.ts";

/** Results of {@link ReplyPlacer.place} that are no entry: another flow has the tuple and nothing may change; no port is left. */
export const TUPLE_TAKEN = -1;
export const NO_PORT = -2;
/** Of one attempt: the tuple is another flow's. */
const TAKEN = -1;

/**
 * Attempts in a row from one place of the range; then half as many from another, down to 16, as Linux's nf_nat_core.c. A range that
 * is not larger is searched whole.
 */
const FIRST_ATTEMPTS = 128;
const LEAST_ATTEMPTS = 16;
/** Attempts for one flow in all, over all addresses: a bound on what a flow costs when ports run out. */
const MAX_ATTEMPTS = 512;

/**
 * Finds the tuple that answers to a new connection arrive with, and enters it in the flow table. Whatever connection still exists
 * holds its tuple, in TIME_WAIT too: an address and port is given to two flows only where their far ends tell them apart.
 *
 * Ports are searched from a place on that a keyed hash of the whole flow says, algorithm 3 of RFC 6056: who does not have the key
 * cannot guess them, and flows of one client do not search behind each other.
 *
 * Thread-safety: that of the flow table, which decides when two CPUs want one tuple.
 */
export class ReplyPlacer {
  readonly #table: FlowTable;
  readonly #words: Int32Array;
  /** Makes the words ready that packets are rewritten by: before the tuple can be found. */
  readonly #prepare: (connection: number) => void;
  readonly #client = new Int32Array(10);
  #left = 0;

  constructor(table: FlowTable, words: Int32Array, prepare: (connection: number) => void) {
    this.#table = table;
    this.#words = words;
    this.#prepare = prepare;
  }

  /**
   * For the connection at word `w`, whose reply tuple is filled but for the near end; `value` is what its entry shall hold, `hash`
   * the keyed hash of the flow. Returns the entry; 0 when the table is full; {@link TUPLE_TAKEN}; {@link NO_PORT}.
   */
  place(w: number, target: FlowTarget, value: number, hash: number): number {
    const words = this.#words;
    const at = w + REPLY;
    const { pool } = target;
    this.#left = MAX_ATTEMPTS;
    for (let i = 0; i < 4; i++) words[at + 4 + i] = target.near[i];
    const first = pool === undefined ? 0 : this.#clientHash(target, words[at + 9]);
    const addresses = pool === undefined ? 1 : pool.size;
    for (let i = 0; i < addresses && this.#left > 0; i++) {
      if (pool !== undefined) pool.write((first >>> 0) + i, words, at + 4);
      const entry = this.#onAddress(w, target, value, mix(hash + i));
      if (entry !== TAKEN) return entry;
    }
    return target.isTranslated ? NO_PORT : TUPLE_TAKEN;
  }

  /** The same for all flows of a client. */
  #clientHash(target: FlowTarget, protocol: number): number {
    for (let i = 0; i < 4; i++) this.#client[i] = target.near[i];
    this.#client[9] = protocol & ~0xff;
    return this.#table.hash(this.#client, 0);
  }

  #onAddress(w: number, target: FlowTarget, value: number, hash: number): number {
    if (target.keepsPort || !target.hasPorts) {
      const entry = this.#try(w, target, target.nearPort, value);
      if (entry !== TAKEN || !target.isTranslated || !target.hasPorts) return entry;
    }
    const size = target.lastPort - target.firstPort + 1;
    let start = hash;
    for (let attempts = Math.min(size, FIRST_ATTEMPTS); ; attempts >>= 1) {
      for (let i = 0; i < attempts && this.#left > 0; i++) {
        const entry = this.#try(w, target, target.firstPort + (((start >>> 0) + i) % size), value);
        if (entry !== TAKEN) return entry;
      }
      if (attempts >= size || attempts < LEAST_ATTEMPTS || this.#left <= 0) return TAKEN;
      start = mix(start);
    }
  }

  #try(w: number, target: FlowTarget, port: number, value: number): number {
    const table = this.#table;
    const words = this.#words;
    const at = w + REPLY;
    this.#left--;
    words[at + 8] = ((isEcho(words[at + 9] & 0xff) ? port : target.farPort) << 16) | port;
    const hash = table.hash(words, at);
    // Searching takes no lock; the first attempt mostly succeeds.
    if (this.#left < MAX_ATTEMPTS - 1 && table.lookup(words, at, hash) !== 0) return TAKEN;
    // Other CPUs compare keys of the table's own copy, so the tuple may change until it is entered.
    this.#prepare(w);
    const entry = table.insert(words, at, hash, value);
    return entry === 0 || table.value(entry) === value ? entry : TAKEN;
  }
}

/** The finalizer of MurmurHash3. */
function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
