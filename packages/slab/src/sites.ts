/*
 * Texts that threads share, named by small numbers: an open-addressed table in shared memory that only grows.
 *
 *   slot: | hash, claimed by compare-exchange | length + 1 once the text is there | text, one byte a character |
 *
 * A thread that dies between claim and text leaves a slot that others step over.
 */
const SLOTS = 512;
const SLOT_BYTES = 128;
const TEXT_BYTES = SLOT_BYTES - 8;
const READY = 1;

/** Bytes of the memory of a {@link SiteTable}. */
export const SITE_TABLE_BYTES: number = SLOTS * SLOT_BYTES;

/** Call sites, for the reports of debug mode. Thread-safety: any thread. Cost: a stack trace; for debugging only. */
export class SiteTable {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#bytes = new Uint8Array(memory);
  }

  /** Number of the place outside this package that is calling; 0 when the table is full or the engine tells no stack. */
  here(): number {
    return this.intern(callSite(new Error("site").stack ?? ""));
  }

  intern(text: string): number {
    const site = text.slice(-TEXT_BYTES);
    if (site === "") return 0;
    const hash = hashText(site);
    for (let probe = 0; probe < SLOTS; probe++) {
      const slot = (hash + probe) & (SLOTS - 1);
      const at = slot * (SLOT_BYTES / 4);
      const found = Atomics.compareExchange(this.#words, at, 0, hash);
      if (found === 0) this.#write(slot, site);
      if (found === 0 || (found === hash && this.text(slot + 1) === site)) return slot + 1;
    }
    return 0;
  }

  text(site: number): string {
    if (site < 1 || site > SLOTS) return "";
    const length = Atomics.load(this.#words, (site - 1) * (SLOT_BYTES / 4) + READY) - 1;
    let text = "";
    for (let i = 0; i < length; i++) text += String.fromCharCode(this.#bytes[(site - 1) * SLOT_BYTES + 8 + i]);
    return text;
  }

  #write(slot: number, site: string): void {
    for (let i = 0; i < site.length; i++) this.#bytes[slot * SLOT_BYTES + 8 + i] = site.charCodeAt(i) & 0xff;
    Atomics.store(this.#words, slot * (SLOT_BYTES / 4) + READY, site.length + 1);
  }
}

/** The innermost frame outside of this package's sources. */
function callSite(stack: string): string {
  const here = import.meta.url.slice(0, import.meta.url.lastIndexOf("/") + 1);
  for (const line of stack.split("\n").slice(1)) {
    if (line.includes(here) || line.includes(here.replace(/^file:\/\//, ""))) continue;
    return line.trim().replace(/^at /, "");
  }
  return "";
}

/** FNV-1a, 32 bits, never 0. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash === 0 ? 1 : hash;
}
