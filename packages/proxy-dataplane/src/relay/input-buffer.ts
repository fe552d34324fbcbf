const FIRST_BYTES = 512;

/**
 * What a peer has sent and nobody has consumed, during a handshake. Grows up to `limit`, which bounds what a peer may make
 * the proxy keep.
 */
export class InputBuffer {
  bytes: Uint8Array = EMPTY;
  from = 0;
  to = 0;

  get length(): number {
    return this.to - this.from;
  }

  /** Keep a copy of more bytes; false: that would be more than `limit`. */
  append(bytes: Uint8Array, from: number, to: number, limit: number): boolean {
    const added = to - from;
    if (this.length + added > limit) return false;
    if (this.to + added > this.bytes.length) this.#makeRoom(added, limit);
    this.bytes.set(bytes.subarray(from, to), this.to);
    this.to += added;
    return true;
  }

  consume(count: number): void {
    this.from += count;
    if (this.from === this.to) this.from = this.to = 0;
  }

  /** Give the memory back. */
  clear(): void {
    this.bytes = EMPTY;
    this.from = this.to = 0;
  }

  #makeRoom(added: number, limit: number): void {
    const { length } = this;
    const needed = length + added;
    const size = Math.min(Math.max(FIRST_BYTES, 2 ** Math.ceil(Math.log2(needed))), Math.max(limit, needed));
    const target = size > this.bytes.length ? new Uint8Array(size) : this.bytes;
    target.set(this.bytes.subarray(this.from, this.to));
    this.bytes = target;
    this.from = 0;
    this.to = length;
  }
}

const EMPTY = new Uint8Array(0);
