import { Detection } from "../policy/detect/detected-name.ts";
import { ProtocolDetector } from "../policy/detect/protocol-detector.ts";
import type { InputBuffer } from "./input-buffer.ts";

/** A hello with post-quantum key shares has 2 KB, a head of HTTP rarely 8. */
const MAX_PEEK_BYTES = 16_384;

/**
 * Looks at a client's first bytes for the name that it asks for: SNI of a TLS hello (RFC 6066, 3), Host of an HTTP/1 request. The bytes stay
 * where they are.
 */
export class Peek {
  readonly #detector = new ProtocolDetector();
  #seen = 0;

  /** Look at what has come. True: more of it would tell no more. */
  look({ bytes, from, to }: InputBuffer): boolean {
    const result = this.#detector.push(bytes, from + this.#seen, to);
    this.#seen = to - from;
    return result !== Detection.More || this.#seen >= MAX_PEEK_BYTES;
  }

  /** In lower case; "" without. */
  get name(): string {
    return this.#detector.name;
  }
}
