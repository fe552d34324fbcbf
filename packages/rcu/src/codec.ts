/**
 * How values of an {@link RcuCell} become bytes and back. `decode` gets bytes of its own, never shared memory.
 *
 * @public
 */
export interface Codec<T> {
  /** The bytes of a value; throws if it has none. */
  encode(value: T): Uint8Array;
  /** The value of bytes that `encode` made. */
  decode(bytes: Uint8Array): T;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Values as JSON text in UTF-8: for configuration, whose reads are cached and whose updates are rare.
 *
 * @public
 */
// oxlint-disable-next-line typescript/no-explicit-any -- one codec serves every JSON type; the cell's `initial` fixes T
export const jsonCodec: Codec<any> = {
  encode: (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value)),
  decode: (bytes: Uint8Array): unknown => JSON.parse(decoder.decode(bytes)),
};
