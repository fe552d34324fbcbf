import type { CpuId } from "@x/smp";

/*
 * Debug mode only: where each CPU's read section began, as text for whoever finds the CPU stalled.
 *
 *   word 0     length   of the text, 0 while there is none     its CPU, Atomics
 *   words 1 on text     two characters a word                  its CPU, plain
 *
 * A reader may see a mixture of two texts if the section ends meanwhile: it is for the eye.
 */
const CPU_WORDS = 128;
const MAX_TEXT = (CPU_WORDS - 1) * 2;

export class SectionSites {
  readonly #words: Int32Array;
  readonly #characters: Uint16Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#characters = new Uint16Array(memory);
  }

  static memory(possibleCpus: number): SharedArrayBuffer {
    return new SharedArrayBuffer(possibleCpus * CPU_WORDS * 4);
  }

  /** The section of the calling CPU began here. */
  begin(cpu: CpuId): void {
    const text = callSite().slice(0, MAX_TEXT);
    const first = (cpu * CPU_WORDS + 1) * 2;
    for (let at = 0; at < text.length; at++) this.#characters[first + at] = text.charCodeAt(at);
    Atomics.store(this.#words, cpu * CPU_WORDS, text.length);
  }

  end(cpu: CpuId): void {
    Atomics.store(this.#words, cpu * CPU_WORDS, 0);
  }

  /** Where the section of `cpu` began, or undefined. */
  where(cpu: CpuId): string | undefined {
    const length = Atomics.load(this.#words, cpu * CPU_WORDS);
    const first = (cpu * CPU_WORDS + 1) * 2;
    return length === 0 ? undefined : String.fromCharCode(...this.#characters.slice(first, first + length));
  }
}

const OWN_FOLDER: string = new URL(".", import.meta.url).pathname;

/** «function (file:line:column)» of what called this package, as the engine writes frames. Slow: debug mode only. */
export function callSite(): string {
  const frames = (new Error("site").stack ?? "").split("\n").filter((line) => /:\d+:\d+\)?$/.test(line));
  const frame = frames.find((each) => !each.includes(OWN_FOLDER)) ?? "an unknown place";
  return frame.trim().replace(/^at /, "");
}
