import { SmpError, type SmpErrorCode } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";

/**
 * A function call on another CPU that did not return: `SMP_CALL_FAILED` if the function threw, `SMP_CPU_OFFLINE` if the CPU was
 * offline, `SMP_CPU_DIED` if it ended before the function did.
 *
 * @public
 */
export class CallError extends SmpError {
  /** The CPU that was called. */
  readonly cpu: CpuId;
  /** Which function was called. */
  readonly functionIndex: number;
  /** The stack of what was thrown there, at most 500 characters; empty where nothing was. */
  readonly remoteStack: string;
  /** Where several CPUs were called and failed: the errors of the others. */
  others: readonly CallError[] = [];

  /** @internal */
  constructor(code: SmpErrorCode, message: string, cpu: CpuId, functionIndex: number, remoteStack = "") {
    super(code, message);
    this.cpu = cpu;
    this.functionIndex = functionIndex;
    this.remoteStack = remoteStack;
  }
}

/*
 * What functions threw, as text, a ring of records for each CPU that was called:
 *
 *   word 0     serial   of the text; 0 while it is written        its CPU, Atomics
 *   word 1     length   of the text                               its CPU, plain, as the text
 *   words 2 on text     two characters a word
 *
 * A reader looks at the serial before and after: a text that has been overwritten by eight later ones is gone. The first
 * record's place holds the last serial.
 */
const RECORDS = 8;
const RECORD_WORDS = 256;
const CPU_WORDS = (RECORDS + 1) * RECORD_WORDS;
const LENGTH = 1;
const TEXT = 2;
const MAX_TEXT = (RECORD_WORDS - TEXT) * 2;
const NO_TEXT = "what it threw was overwritten by later failures";

export class FailureTexts {
  readonly #words: Int32Array;
  readonly #characters: Uint16Array;
  readonly #hal: Hal;

  constructor(memory: SharedArrayBuffer, hal: Hal) {
    this.#words = new Int32Array(memory);
    this.#characters = new Uint16Array(memory);
    this.#hal = hal;
  }

  static memory(possibleCpus: number): SharedArrayBuffer {
    return new SharedArrayBuffer(possibleCpus * CPU_WORDS * 4);
  }

  /** Keep what was thrown on the calling CPU; returns its serial. */
  write(thrown: unknown): number {
    const base = this.#hal.currentCpu() * CPU_WORDS;
    const serial = (this.#words[base] % 0x7fffffff) + 1;
    this.#words[base] = serial;
    const at = recordOf(base, serial);
    const text = textOf(thrown);
    Atomics.store(this.#words, at, 0);
    this.#words[at + LENGTH] = text.length;
    for (let index = 0; index < text.length; index++) {
      this.#characters[(at + TEXT) * 2 + index] = text.charCodeAt(index);
    }
    Atomics.store(this.#words, at, serial);
    return serial;
  }

  /** What `cpu` kept under a serial. */
  read(cpu: CpuId, serial: number): string {
    const at = recordOf(cpu * CPU_WORDS, serial);
    if (Atomics.load(this.#words, at) !== serial) return NO_TEXT;
    const first = (at + TEXT) * 2;
    const text = String.fromCharCode(...this.#characters.slice(first, first + this.#words[at + LENGTH]));
    return Atomics.load(this.#words, at) === serial ? text : NO_TEXT;
  }
}

function recordOf(base: number, serial: number): number {
  return base + (1 + (serial % RECORDS)) * RECORD_WORDS;
}

function textOf(thrown: unknown): string {
  const text = thrown instanceof Error ? (thrown.stack ?? `${thrown.name}: ${thrown.message}`) : String(thrown);
  return text.slice(0, MAX_TEXT);
}
