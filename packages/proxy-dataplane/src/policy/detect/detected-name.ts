import { MAX_NAME_BYTES } from "../limits.ts";

/**
 * What a detector knows after some bytes of a stream.
 *
 * @public
 */
export const Detection: {
  /** More bytes are needed. */
  readonly More: 0;
  /** It is the protocol, and the name is known. */
  readonly Name: 1;
  /** It is the protocol, and there is no name in it. */
  readonly NoName: 2;
  /** It is not the protocol, or malformed. */
  readonly Not: 3;
} = { More: 0, Name: 1, NoName: 2, Not: 3 };

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type Detection = 0 | 1 | 2 | 3;

/** A host name that comes byte by byte: in lower case, without a final dot, of characters that host names have. */
export class DetectedName {
  readonly bytes: Uint8Array = new Uint8Array(MAX_NAME_BYTES);
  length = 0;
  #isValid = true;

  clear(): void {
    this.length = 0;
    this.#isValid = true;
  }

  push(byte: number): void {
    const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (!isNameByte(lower)) this.#isValid = false;
    if (this.length < MAX_NAME_BYTES) this.bytes[this.length++] = lower;
    // A final dot may be one byte too many.
    else if (lower !== DOT) this.#isValid = false;
  }

  /** The name is complete. Returns whether it is one. */
  end(): boolean {
    if (this.length > 0 && this.bytes[this.length - 1] === DOT) this.length--;
    return this.#isValid && this.length > 0;
  }

  toString(): string {
    return String.fromCharCode(...this.bytes.subarray(0, this.length));
  }
}

const DOT = 0x2e;

/** a-z, 0-9, `-`, `.`, `_`. */
function isNameByte(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === DOT || byte === 0x5f
  );
}
