import { Detection } from "./detected-name.ts";
import { DnsMessage } from "./dns-message.ts";
import { HttpHostDetector } from "./http-head.ts";
import { TlsHelloDetector } from "./tls-hello.ts";

/**
 * What a client speaks, by its first bytes.
 *
 * @public
 */
export type DetectedProtocol = "unknown" | "tls" | "http" | "ssh" | "socks4" | "socks5" | "dns" | "quic";

const SSH_PREFIX = "SSH-";
const QUIC_VERSION_1 = 1;
const QUIC_VERSION_2 = 0x6b3343cf;
const QUIC_LEAST_INITIAL_BYTES = 1200;
const QUIC_MAX_CONNECTION_ID = 20;

/**
 * Tells the protocol of a stream by the client's first bytes, and the host it asks for. Feed it what the client sends, in order, until it
 * answers something else than `More`; what it fed on stays the caller's. Memory is bounded: a name and a few numbers.
 *
 * @public
 */
export class ProtocolDetector {
  /** Known once {@link ProtocolDetector.push} has answered something else than `More`. */
  protocol: DetectedProtocol = "unknown";
  readonly #tls = new TlsHelloDetector();
  readonly #http = new HttpHostDetector();
  #tlsResult: Detection = Detection.More;
  #httpResult: Detection = Detection.More;
  #result: Detection = Detection.More;
  /** The first bytes, for protocols that are known by these alone. */
  readonly #first = new Uint8Array(8);
  #count = 0;

  /** Begin anew. */
  clear(): this {
    this.#tls.clear();
    this.#http.clear();
    this.protocol = "unknown";
    this.#tlsResult = Detection.More;
    this.#httpResult = Detection.More;
    this.#result = Detection.More;
    this.#count = 0;
    return this;
  }

  /** The name the client asks for, in lower case; empty without. */
  get name(): string {
    return this.protocol === "tls" ? this.#tls.name : this.protocol === "http" ? this.#http.name : "";
  }

  /** Copies the name, in the form of {@link FlowFacts.name}; returns its length, 0 without. */
  copyName(into: Uint8Array): number {
    if (this.protocol === "tls") return this.#tls.copyName(into);
    return this.protocol === "http" ? this.#http.copyName(into) : 0;
  }

  /** Takes the client's next bytes. `Not`: none of the protocols that are known. */
  push(bytes: Uint8Array, from = 0, to: number = bytes.length): Detection {
    if (this.#result !== Detection.More || from >= to) return this.#result;
    for (let at = from; at < to && this.#count < this.#first.length; at++) this.#first[this.#count++] = bytes[at];
    if (this.#tlsResult === Detection.More) this.#tlsResult = this.#tls.push(bytes, from, to);
    if (this.#httpResult === Detection.More) this.#httpResult = this.#http.push(bytes, from, to);
    if (isFound(this.#tlsResult)) return this.#found("tls", this.#tlsResult);
    if (isFound(this.#httpResult)) return this.#found("http", this.#httpResult);
    return this.#byFirstBytes();
  }

  #byFirstBytes(): Detection {
    const [first, second] = this.#first;
    const isOpen = this.#tlsResult === Detection.More || this.#httpResult === Detection.More;
    const ssh = prefixLength(this.#first, this.#count, SSH_PREFIX);
    if (ssh === SSH_PREFIX.length) return this.#found("ssh", Detection.NoName);
    if (this.#count < 2) return isOpen || ssh > 0 || first === 4 || first === 5 ? Detection.More : this.#not();
    if (first === 5 && second > 0) return this.#found("socks5", Detection.NoName);
    if (first === 4 && (second === 1 || second === 2)) return this.#found("socks4", Detection.NoName);
    return isOpen || ssh > 0 ? Detection.More : this.#not();
  }

  #found(protocol: DetectedProtocol, result: Detection): Detection {
    this.protocol = protocol;
    this.#result = result;
    return result;
  }

  #not(): Detection {
    this.#result = Detection.Not;
    return this.#result;
  }
}

function isFound(result: Detection): boolean {
  return result === Detection.Name || result === Detection.NoName;
}

/** Bytes that agree with the prefix, or 0 when one of them does not. */
function prefixLength(bytes: Uint8Array, count: number, prefix: string): number {
  const length = Math.min(count, prefix.length);
  for (let i = 0; i < length; i++) if (bytes[i] !== prefix.charCodeAt(i)) return 0;
  return length;
}

const dns = new DnsMessage();

/**
 * Tells the protocol of a datagram: `dns`, `quic` (the Initial packet of a client, versions 1 and 2) or `unknown`.
 *
 * @public
 */
export function detectDatagram(bytes: Uint8Array, from = 0, to: number = bytes.length): DetectedProtocol {
  if (isQuicInitial(bytes, from, to)) return "quic";
  return dns.parse(bytes, from, to) ? "dns" : "unknown";
}

/** RFC 9000, 17.2.2, and RFC 9369: a long header of type Initial, in a datagram as large as clients must make it. */
function isQuicInitial(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from < QUIC_LEAST_INITIAL_BYTES || (bytes[from] & 0xc0) !== 0xc0) return false;
  const version = (bytes[from + 1] << 24) | (bytes[from + 2] << 16) | (bytes[from + 3] << 8) | bytes[from + 4];
  const type = (bytes[from] >> 4) & 3;
  if (version === QUIC_VERSION_1 ? type !== 0 : version === QUIC_VERSION_2 ? type !== 1 : true) return false;
  const destination = bytes[from + 5];
  return destination <= QUIC_MAX_CONNECTION_ID && bytes[from + 6 + destination] <= QUIC_MAX_CONNECTION_ID;
}
