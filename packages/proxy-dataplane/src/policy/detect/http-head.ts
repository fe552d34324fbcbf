import { DetectedName, Detection } from "./detected-name.ts";

/** Servers refuse heads larger than this. */
const MAX_HEAD_BYTES = 1 << 16;
/** Longer than any method that is registered. */
const MAX_METHOD_BYTES = 32;
const HOST = "host";
const CONNECT = "connect";
const VERSION = "http/1.";

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const SLASH = 0x2f;
const COLON = 0x3a;
const AT = 0x40;
const OPEN = 0x5b;

const Step = {
  Method: 0,
  TargetStart: 1,
  Scheme: 2,
  Authority: 3,
  Target: 4,
  Version: 5,
  LineStart: 6,
  HeaderName: 7,
  HostStart: 8,
  HostValue: 9,
  SkipLine: 10,
} as const;
type Step = (typeof Step)[keyof typeof Step];

/**
 * Reads the host of an HTTP/1 request, byte by byte as it comes: from an absolute target or that of CONNECT, else from the
 * first Host header (RFC 9112, 3.2). A host that is an IPv6 address is no name. Nothing is kept but the name and a few
 * numbers. Cost: a few comparisons a byte; no allocation.
 *
 * @public
 */
export class HttpHostDetector {
  readonly #name = new DetectedName();
  #result: Detection = Detection.More;
  #step: Step = Step.Method;
  /** Bytes of the head so far. */
  #total = 0;
  /** Bytes of the current word so far. */
  #count = 0;
  /** The word is what it is compared with, so far. */
  #matches = true;
  /** The port has begun, or something else that is no part of the name. */
  #isPast = false;

  /** Begin anew. */
  clear(): void {
    this.#name.clear();
    this.#result = Detection.More;
    this.#total = 0;
    this.#enter(Step.Method);
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
    for (let at = from; at < to && this.#result === Detection.More; at++) {
      if (++this.#total > MAX_HEAD_BYTES) this.#result = Detection.Not;
      else if (this.#step < Step.LineStart) this.#requestLine(bytes[at]);
      else this.#header(bytes[at]);
    }
    return this.#result;
  }

  #enter(step: Step): void {
    this.#step = step;
    this.#count = 0;
    this.#matches = true;
    this.#isPast = false;
  }

  #not(): void {
    this.#result = Detection.Not;
  }

  #requestLine(byte: number): void {
    switch (this.#step) {
      case Step.Method:
        return this.#method(byte);
      case Step.TargetStart:
        if (byte === SPACE) return this.#not();
        if (byte === SLASH || byte === 0x2a) return this.#enter(Step.Target);
        this.#enter(Step.Scheme);
        return this.#scheme(byte);
      case Step.Scheme:
        return this.#scheme(byte);
      case Step.Authority:
        if (byte === SPACE || byte === SLASH || byte === 0x3f || byte === 0x23) return this.#nameEnds();
        return this.#authority(byte);
      case Step.Target:
        if (byte === SPACE) this.#enter(Step.Version);
        else if (byte < 0x21 || byte === 0x7f) this.#not();
        return undefined;
      default:
        return this.#version(byte);
    }
  }

  /** Capital letters and `-`; every method that is registered is of them. */
  #method(byte: number): void {
    if (byte === SPACE && this.#count > 0) {
      const isConnect = this.#matches && this.#count === CONNECT.length;
      return this.#enter(isConnect ? Step.Authority : Step.TargetStart);
    }
    if (!((byte >= 0x41 && byte <= 0x5a) || byte === 0x2d) || this.#count === MAX_METHOD_BYTES) return this.#not();
    this.#compare(byte, CONNECT);
  }

  /** `scheme://`; what comes after it is the host. */
  #scheme(byte: number): void {
    const count = this.#count++;
    if (this.#isPast) {
      if (byte !== SLASH) return this.#not();
      if (++this.#slashes === 2) this.#enter(Step.Authority);
      return;
    }
    if (byte === COLON && count > 0) {
      this.#isPast = true;
      this.#slashes = 0;
      return;
    }
    const lower = byte | 0x20;
    const isLetter = lower >= 0x61 && lower <= 0x7a;
    const isOther = (byte >= 0x30 && byte <= 0x39) || byte === 0x2b || byte === 0x2d || byte === 0x2e;
    if (!isLetter && !(isOther && count > 0)) this.#not();
  }

  #slashes = 0;

  /** `host`, `host:port`, `user@host`. */
  #authority(byte: number): void {
    if (byte < 0x21 || byte === 0x7f) return this.#not();
    if (byte === AT) {
      this.#name.clear();
      this.#isPast = false;
      this.#count = 0;
      return;
    }
    if (byte === OPEN && this.#count === 0) {
      this.#result = Detection.NoName;
      return;
    }
    if (this.#count++ > MAX_HEAD_BYTES) return this.#not();
    if (byte === COLON) this.#isPast = true;
    else if (!this.#isPast) this.#name.push(byte);
  }

  #nameEnds(): void {
    // An empty Host header is what a target without a host asks for.
    if (this.#step === Step.HostValue && this.#name.length === 0) this.#result = Detection.NoName;
    else this.#result = this.#name.end() ? Detection.Name : Detection.Not;
  }

  #version(byte: number): void {
    if (byte === LF) {
      // `HTTP/1.x`
      if (!this.#matches || this.#count !== VERSION.length + 1) return this.#not();
      return this.#enter(Step.LineStart);
    }
    if (byte === CR) return;
    if (this.#count < VERSION.length) return this.#compare(byte, VERSION);
    if (this.#count++ > VERSION.length || byte < 0x30 || byte > 0x39) this.#not();
  }

  #header(byte: number): void {
    switch (this.#step) {
      case Step.LineStart:
        if (byte === LF) {
          this.#result = Detection.NoName;
          return;
        }
        if (byte === CR) return;
        // A folded line belongs to the header before it, which was not Host.
        if (byte === SPACE || byte === TAB) return this.#enter(Step.SkipLine);
        this.#enter(Step.HeaderName);
        return this.#headerName(byte);
      case Step.HeaderName:
        return this.#headerName(byte);
      case Step.HostStart:
        if (byte === SPACE || byte === TAB) return;
        this.#enter(Step.HostValue);
        return this.#hostValue(byte);
      case Step.HostValue:
        return this.#hostValue(byte);
      default:
        if (byte === LF) this.#enter(Step.LineStart);
    }
  }

  #headerName(byte: number): void {
    if (byte === COLON) {
      return this.#enter(this.#matches && this.#count === HOST.length ? Step.HostStart : Step.SkipLine);
    }
    if (byte < 0x21 || byte > 0x7e) return this.#not();
    this.#compare(byte, HOST);
  }

  #hostValue(byte: number): void {
    if (byte === LF) return this.#nameEnds();
    if (byte === CR || byte === SPACE || byte === TAB) {
      this.#isPast = true;
      return;
    }
    this.#authority(byte);
  }

  /** One more byte of a word that is compared without regard to case. */
  #compare(byte: number, word: string): void {
    const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (this.#count >= word.length || word.charCodeAt(this.#count) !== lower) this.#matches = false;
    this.#count++;
  }
}
