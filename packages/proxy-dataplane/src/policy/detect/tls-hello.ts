import { DetectedName, Detection } from "./detected-name.ts";

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
/** A record's plaintext (RFC 8446, 5.1). */
const MAX_RECORD_BYTES = 1 << 14;
/** Hellos with post-quantum key shares are 2 KB; nobody needs more than this. */
const MAX_HELLO_BYTES = 1 << 16;

/** What comes next in the hello. */
const Step = {
  Type: 0,
  Length: 1,
  VersionAndRandom: 2,
  SessionLength: 3,
  Session: 4,
  CiphersLength: 5,
  Ciphers: 6,
  CompressionsLength: 7,
  Compressions: 8,
  ExtensionsLength: 9,
  ExtensionType: 10,
  ExtensionLength: 11,
  Extension: 12,
  ListLength: 13,
  NameType: 14,
  NameLength: 15,
  Name: 16,
  OtherName: 17,
} as const;
type Step = (typeof Step)[keyof typeof Step];

/**
 * Reads the server's name (SNI, RFC 6066) from a TLS ClientHello, in whatever pieces it comes: of segments and of records. Nothing
 * is kept but the name and a few numbers. Every length is held against what encloses it.
 *
 * Cost: proportional to the number of fields, not of bytes. No allocation.
 *
 * @public
 */
export class TlsHelloDetector {
  readonly #name = new DetectedName();
  #result: Detection = Detection.More;
  #headerBytes = 0;
  #recordLeft = 0;
  #step: Step = Step.Type;
  /** Bytes of the step that are still to come. */
  #left = 1;
  #value = 0;
  /** Bytes of the hello, then of its extensions, that are not spoken for. */
  #room = 0;
  /** The same for the extension with the names. */
  #listRoom = 0;
  #extension = 0;

  /** Begin anew. */
  clear(): void {
    this.#name.clear();
    this.#result = Detection.More;
    this.#headerBytes = 0;
    this.#recordLeft = 0;
    this.#expect(Step.Type, 1);
  }

  /** The name that was found, in lower case; empty without. */
  get name(): string {
    return this.#result === Detection.Name ? this.#name.toString() : "";
  }

  /** Copies the name; returns its length, 0 without. */
  copyName(into: Uint8Array): number {
    if (this.#result !== Detection.Name) return 0;
    into.set(this.#name.bytes.subarray(0, this.#name.length));
    return this.#name.length;
  }

  /** Takes the next bytes of the stream; once it has answered anything but `More`, it stays with that. */
  push(bytes: Uint8Array, from = 0, to: number = bytes.length): Detection {
    let at = from;
    while (at < to && this.#result === Detection.More) {
      if (this.#recordLeft === 0) this.#header(bytes[at++]);
      else {
        const end = Math.min(to, at + this.#recordLeft);
        const used = this.#hello(bytes, at, end) - at;
        this.#recordLeft -= used;
        at += used;
      }
    }
    return this.#result;
  }

  /** One byte of the header of a record: type, version, version, length, length. */
  #header(byte: number): void {
    const place = this.#headerBytes++;
    if (place === 0 ? byte !== HANDSHAKE_RECORD : place === 1 && byte !== 3) this.#result = Detection.Not;
    if (place < 3) return;
    this.#recordLeft = place === 3 ? 0 : this.#recordLength(byte);
    this.#lengthHigh = byte;
  }

  #lengthHigh = 0;

  #recordLength(low: number): number {
    const length = (this.#lengthHigh << 8) | low;
    this.#headerBytes = 0;
    if (length === 0 || length > MAX_RECORD_BYTES) this.#result = Detection.Not;
    return length;
  }

  /** Takes bytes of the hello up to `end`, or up to the answer. Returns where it stopped. */
  #hello(bytes: Uint8Array, from: number, end: number): number {
    let at = from;
    while (at < end && this.#result === Detection.More) {
      if (isNumber(this.#step)) {
        this.#value = (this.#value << 8) | bytes[at++];
        this.#left--;
      } else {
        const taken = Math.min(this.#left, end - at);
        if (this.#step === Step.Name) for (let i = 0; i < taken; i++) this.#name.push(bytes[at + i]);
        this.#left -= taken;
        at += taken;
      }
      // A step may be empty, and so may be the one after it.
      while (this.#left === 0 && this.#result === Detection.More) this.#done(this.#value);
    }
    return at;
  }

  #expect(step: Step, bytes: number): void {
    this.#step = step;
    this.#left = bytes;
    this.#value = 0;
  }

  /** The next step, if what encloses it has room for it. */
  #take(step: Step, bytes: number): void {
    if (bytes > this.#room) this.#result = Detection.Not;
    this.#room -= bytes;
    this.#expect(step, bytes);
  }

  #takeOfList(step: Step, bytes: number): void {
    if (bytes > this.#listRoom) this.#result = Detection.Not;
    this.#listRoom -= bytes;
    this.#expect(step, bytes);
  }

  #done(value: number): void {
    if (this.#step >= Step.ExtensionsLength) return this.#extensionDone(value);
    switch (this.#step) {
      case Step.Type:
        if (value !== CLIENT_HELLO) this.#result = Detection.Not;
        return this.#expect(Step.Length, 3);
      case Step.Length:
        this.#room = value;
        if (value > MAX_HELLO_BYTES) this.#result = Detection.Not;
        return this.#take(Step.VersionAndRandom, 34);
      case Step.VersionAndRandom:
        return this.#take(Step.SessionLength, 1);
      case Step.SessionLength:
        if (value > 32) this.#result = Detection.Not;
        return this.#take(Step.Session, value);
      case Step.Session:
        return this.#take(Step.CiphersLength, 2);
      case Step.CiphersLength:
        if (value < 2 || value % 2 !== 0) this.#result = Detection.Not;
        return this.#take(Step.Ciphers, value);
      case Step.Ciphers:
        return this.#take(Step.CompressionsLength, 1);
      case Step.CompressionsLength:
        if (value === 0) this.#result = Detection.Not;
        return this.#take(Step.Compressions, value);
      default:
        // Extensions are optional.
        if (this.#room === 0) this.#result = Detection.NoName;
        else this.#take(Step.ExtensionsLength, 2);
    }
  }

  #extensionDone(value: number): void {
    switch (this.#step) {
      case Step.ExtensionsLength:
        if (value > this.#room) this.#result = Detection.Not;
        this.#room = value;
        return this.#nextExtension();
      case Step.ExtensionType:
        this.#extension = value;
        return this.#take(Step.ExtensionLength, 2);
      case Step.ExtensionLength:
        if (this.#extension !== SERVER_NAME) return this.#take(Step.Extension, value);
        if (value > this.#room) this.#result = Detection.Not;
        this.#room -= value;
        this.#listRoom = value;
        return this.#takeOfList(Step.ListLength, 2);
      case Step.Extension:
        return this.#nextExtension();
      case Step.ListLength:
        if (value > this.#listRoom) this.#result = Detection.Not;
        return this.#takeOfList(Step.NameType, 1);
      case Step.NameType:
        this.#extension = value;
        return this.#takeOfList(Step.NameLength, 2);
      case Step.NameLength:
        return this.#takeOfList(this.#extension === HOST_NAME ? Step.Name : Step.OtherName, value);
      case Step.Name:
        this.#result = this.#name.end() ? Detection.Name : Detection.Not;
        return undefined;
      default:
        if (this.#listRoom === 0) this.#nextExtension();
        else this.#takeOfList(Step.NameType, 1);
    }
  }

  #nextExtension(): void {
    if (this.#result !== Detection.More) return;
    if (this.#room === 0) this.#result = Detection.NoName;
    else this.#take(Step.ExtensionType, 2);
  }
}

/** Steps that are numbers; the others are bytes that are passed over or copied. */
function isNumber(step: Step): boolean {
  return !(
    step === Step.VersionAndRandom ||
    step === Step.Session ||
    step === Step.Ciphers ||
    step === Step.Compressions ||
    step === Step.Extension ||
    step === Step.Name ||
    step === Step.OtherName
  );
}
