import { copyBytes, copyWords, LOOP_BYTES } from "./copy-bytes.ts";

/** Writes bytes from outside into a pool. Private to its thread. */
export class PacketWriter {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  /** What was last written from, and what was written from twice in a row, as words too. */
  #lastSource: Uint8Array | undefined;
  #source: Uint8Array | undefined;
  #sourceWords: Int32Array = new Int32Array(0);

  constructor(bytes: Uint8Array, words: Int32Array) {
    this.#bytes = bytes;
    this.#words = words;
  }

  /** Short packets whose words lie in the source as in the buffer are copied by words. */
  write(to: number, bytes: Uint8Array, from: number, length: number): void {
    const at = bytes.byteOffset + from;
    if (length > LOOP_BYTES || ((at ^ to) & 3) !== 0 || !this.#isWords(bytes, at + length)) {
      copyBytes(this.#bytes, to, bytes, from, length);
    } else copyWords(this.#words, to >> 2, this.#sourceWords, at >> 2, (at + length + 3) >> 2);
  }

  /** Whether the source is open as words, up to `end`. A view is only made for memory that is used again. */
  #isWords(bytes: Uint8Array, end: number): boolean {
    if (this.#source !== bytes) {
      if (this.#lastSource !== bytes) {
        this.#lastSource = bytes;
        return false;
      }
      this.#source = bytes;
      this.#sourceWords = new Int32Array(bytes.buffer, 0, bytes.buffer.byteLength >> 2);
    }
    return (end + 3) >> 2 <= this.#sourceWords.length;
  }
}
