const SMALL_BYTES = 64 * 1024;
const LARGE_BYTES = 256 * 1024;
/** Buffers of a size that are kept for later. */
const KEPT = 64;

/**
 * Buffers to read into. Each belongs to one socket from `take` until the socket is closed: a buffer that two sockets read into is
 * overwritten by one under the hands of the other.
 */
export class ReadBuffers {
  readonly largestBytes: number = LARGE_BYTES;
  readonly #small: Uint8Array[] = [];
  readonly #large: Uint8Array[] = [];

  take(bytes: number): Uint8Array {
    const kept = bytes > SMALL_BYTES ? this.#large : this.#small;
    // Not from Node's pool, and not zeroed: its pages cost memory once they are used.
    return kept.pop() ?? Buffer.allocUnsafeSlow(bytes > SMALL_BYTES ? LARGE_BYTES : SMALL_BYTES);
  }

  give(buffer: Uint8Array): void {
    const kept = buffer.length > SMALL_BYTES ? this.#large : this.#small;
    if (kept.length < KEPT) kept.push(buffer);
  }
}
