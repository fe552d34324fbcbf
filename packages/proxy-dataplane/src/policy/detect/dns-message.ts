import { DetectedName } from "./detected-name.ts";

const HEADER_BYTES = 12;
const TYPE_A = 1;
const TYPE_AAAA = 28;
const CLASS_IN = 1;
/** Labels of the longest name. */
const MAX_LABELS = 127;
/** Records that are looked at; more come in no answer to a question for addresses. */
const MAX_RECORDS = 64;
/** Addresses that are kept. */
const MAX_ADDRESSES = 16;

/**
 * The question of a DNS message, and the addresses that answer it. One object, filled again by each parse; no allocation. Only
 * messages with exactly one question of class IN are understood; all that are asked are.
 *
 * @public
 */
export class DnsMessage {
  /** Whether it is an answer without an error. */
  isAnswer = false;
  /** Addresses that answer the question; whatever aliases (CNAME) lie between. */
  addressCount = 0;
  /** 4 or 6. */
  readonly families: Uint8Array = new Uint8Array(MAX_ADDRESSES);
  /** Four words each, as in a flow key. */
  readonly addresses: Int32Array = new Int32Array(MAX_ADDRESSES * 4);
  /** Seconds the addresses may be remembered: the least of all records. */
  ttlSeconds = 0;
  readonly #name = new DetectedName();

  /** The name that is asked for, in lower case. */
  get name(): string {
    return this.#name.toString();
  }

  /** Its bytes, in `[0, nameLength)`. */
  get nameBytes(): Uint8Array {
    return this.#name.bytes;
  }

  get nameLength(): number {
    return this.#name.length;
  }

  /** Reads `bytes[from, to)`, a whole message. Returns whether it is one. */
  parse(bytes: Uint8Array, from = 0, to: number = bytes.length): boolean {
    this.isAnswer = false;
    this.addressCount = 0;
    this.ttlSeconds = 0;
    this.#name.clear();
    if (to - from < HEADER_BYTES) return false;
    const flags = half(bytes, from + 2);
    // Standard queries alone, the reserved bit 0, one question.
    if ((flags & 0x7840) !== 0 || half(bytes, from + 4) !== 1) return false;
    let at = this.#question(bytes, from, to);
    if (at < 0) return false;
    const isResponse = (flags & 0x8000) !== 0;
    if (!isResponse) return half(bytes, from + 6) === 0;
    this.isAnswer = (flags & 0xf) === 0;
    if (!this.isAnswer) return true;
    this.ttlSeconds = 0x7fff_ffff;
    const records = Math.min(half(bytes, from + 6), MAX_RECORDS);
    for (let i = 0; i < records; i++) {
      at = this.#record(bytes, at, to);
      if (at < 0) return false;
    }
    return true;
  }

  /** Returns where it ends, or -1. */
  #question(bytes: Uint8Array, from: number, to: number): number {
    let at = from + HEADER_BYTES;
    for (let labels = 0; ; labels++) {
      if (at >= to || labels > MAX_LABELS) return -1;
      const length = bytes[at++];
      if (length === 0) break;
      // The first name of a message has nothing before it to point to.
      if (length > 63 || at + length > to) return -1;
      if (labels > 0) this.#name.push(0x2e);
      for (let i = 0; i < length; i++) {
        if (bytes[at + i] === 0x2e) return -1;
        this.#name.push(bytes[at + i]);
      }
      at += length;
    }
    if (!this.#name.end() || at + 4 > to || half(bytes, at + 2) !== CLASS_IN) return -1;
    return at + 4;
  }

  /** Takes the address of a record. Returns where the record ends, or -1. */
  #record(bytes: Uint8Array, from: number, to: number): number {
    const at = skipName(bytes, from, to);
    if (at < 0 || at + 10 > to) return -1;
    const type = half(bytes, at);
    const length = half(bytes, at + 8);
    const end = at + 10 + length;
    if (end > to) return -1;
    if (half(bytes, at + 2) !== CLASS_IN) return end;
    // A set sign bit is 0 (RFC 2181, 8).
    this.ttlSeconds = Math.min(this.ttlSeconds, Math.max(0, word(bytes, at + 4)));
    if (type !== TYPE_A && type !== TYPE_AAAA) return end;
    if (length !== (type === TYPE_A ? 4 : 16)) return -1;
    if (this.addressCount === MAX_ADDRESSES) return end;
    const into = this.addressCount * 4;
    for (let i = 0; i < 4; i++) this.addresses[into + i] = i * 4 < length ? word(bytes, at + 10 + i * 4) : 0;
    this.families[this.addressCount++] = type === TYPE_A ? 4 : 6;
    return end;
  }
}

/** Where the name at `from` ends, or -1. A pointer ends it, so nothing has to be followed and nothing can go round. */
function skipName(bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  for (let labels = 0; labels <= MAX_LABELS; labels++) {
    if (at >= to) return -1;
    const length = bytes[at];
    if (length >= 0xc0) return at + 2 <= to ? at + 2 : -1;
    if (length > 63) return -1;
    at += length + 1;
    if (length === 0) return at;
  }
  return -1;
}

function half(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

function word(bytes: Uint8Array, at: number): number {
  return (half(bytes, at) << 16) | half(bytes, at + 2);
}
