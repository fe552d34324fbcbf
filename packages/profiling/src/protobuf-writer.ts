/* Wire format: protobuf.dev/programming-guides/encoding. */
const VARINT = 0;
const LENGTH_DELIMITED = 2;

const encoder = new TextEncoder();

/** Appends fields of one protocol-buffer message. Integers are 0 to 2^53 - 1; 0 is the default and left out. */
export class ProtobufWriter {
  #bytes = new Uint8Array(64);
  #length = 0;

  integer(field: number, value: number): this {
    if (value === 0) return this;
    this.#varint(field * 8 + VARINT);
    this.#varint(value);
    return this;
  }

  /** A packed repeated field. */
  integers(field: number, values: readonly number[]): this {
    if (values.length === 0) return this;
    const packed = new ProtobufWriter();
    for (const value of values) packed.#varint(value);
    return this.message(field, packed);
  }

  message(field: number, message: ProtobufWriter): this {
    return this.#delimited(field, message.bytes());
  }

  text(field: number, text: string): this {
    return this.#delimited(field, encoder.encode(text));
  }

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #delimited(field: number, bytes: Uint8Array): this {
    this.#varint(field * 8 + LENGTH_DELIMITED);
    this.#varint(bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** Seven bits a byte, lowest first; by division, since shifts end at 32 bits. */
  #varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest > 127) {
      this.#bytes[this.#length++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#length++] = rest;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
