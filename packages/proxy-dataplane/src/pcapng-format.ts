import type { Capture } from "./capture.ts";
import { packetClock, type CaptureBuilder, type PacketClock } from "./capture-builder.ts";

/*
 * A file is a row of blocks: type u32, total length u32, body, total length u32 again. A section header block sets the
 * byte order for the blocks behind it and forgets the interfaces before it.
 */
const BLOCK_MIN_BYTES = 12;
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const OLD_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const SECTION_HEADER_MIN_BYTES = 28;
const INTERFACE_MIN_BYTES = 20;
const SIMPLE_MIN_BYTES = 16;
const PACKET_MIN_BYTES = 32;

const OPTION_END = 0;
const OPTION_TIME_RESOLUTION = 9;
const OPTION_TIME_OFFSET = 14;

interface CaptureInterface {
  readonly linkType: number;
  readonly snapLength: number;
  readonly clock: PacketClock;
}

export function isPcapng(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x0a && bytes[1] === 0x0d && bytes[2] === 0x0d && bytes[3] === 0x0a;
}

export function readPcapng(builder: CaptureBuilder): Capture {
  new BlockReader(builder).readAll();
  return builder.finish("pcapng");
}

class BlockReader {
  readonly #builder: CaptureBuilder;
  readonly #view: DataView;
  #littleEndian = true;
  #interfaces: CaptureInterface[] = [];

  constructor(builder: CaptureBuilder) {
    this.#builder = builder;
    this.#view = builder.view;
  }

  readAll(): void {
    const end = this.#view.byteLength;
    let at = 0;
    while (at < end) {
      if (at + BLOCK_MIN_BYTES > end) return this.#builder.truncated("a block header", at);
      const type = this.#view.getUint32(at, this.#littleEndian);
      if (type === SECTION_HEADER) this.#readByteOrder(at);
      const declared = this.#u32(at + 4);
      if (declared < BLOCK_MIN_BYTES) throw this.#malformed(`a block has length ${declared}`, at + 4);
      // Blocks end on 32-bit boundaries; some writers forget the padding in the length, not in the file.
      const length = Math.ceil(declared / 4) * 4;
      if (at + length > end) return this.#builder.truncated(`a block of ${length} bytes`, at);
      const trailer = this.#u32(at + length - 4);
      if (trailer !== declared) {
        throw this.#malformed(
          `a block says length ${declared} at its start and ${trailer} at its end`,
          at + length - 4,
        );
      }
      this.#readBlock(type, at, length);
      at += length;
    }
  }

  #malformed(message: string, offset: number): Error {
    return this.#builder.error("CAPTURE_MALFORMED", message, offset);
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, this.#littleEndian);
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, this.#littleEndian);
  }

  /** The magic is in reach: every block has 12 bytes at least. */
  #readByteOrder(at: number): void {
    if (this.#view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC) this.#littleEndian = true;
    else if (this.#view.getUint32(at + 8, false) === BYTE_ORDER_MAGIC) this.#littleEndian = false;
    else throw this.#malformed("a section header has no byte order magic", at + 8);
  }

  #readBlock(type: number, at: number, length: number): void {
    switch (type) {
      case SECTION_HEADER:
        return this.#readSection(at, length);
      case INTERFACE_DESCRIPTION:
        return this.#readInterface(at, length);
      case ENHANCED_PACKET:
        this.#need(at, length, PACKET_MIN_BYTES, "an enhanced packet block");
        return this.#readPacket(at, length, this.#u32(at + 8));
      case OLD_PACKET:
        this.#need(at, length, PACKET_MIN_BYTES, "a packet block");
        return this.#readPacket(at, length, this.#u16(at + 8));
      case SIMPLE_PACKET:
        return this.#readSimplePacket(at, length);
    }
  }

  #need(at: number, length: number, least: number, what: string): void {
    if (length < least) throw this.#malformed(`${what} has ${length} bytes; ${least} are the least`, at + 4);
  }

  #readSection(at: number, length: number): void {
    this.#need(at, length, SECTION_HEADER_MIN_BYTES, "a section header block");
    const major = this.#u16(at + 12);
    if (major !== 1) throw this.#malformed(`pcapng version ${major}.${this.#u16(at + 14)}; only 1.x is known`, at + 12);
    this.#interfaces = [];
  }

  #readInterface(at: number, length: number): void {
    this.#need(at, length, INTERFACE_MIN_BYTES, "an interface description block");
    let ticksPerSecond = 1_000_000n;
    let offsetSeconds = 0n;
    let option = at + 16;
    const end = at + length - 4;
    while (option + 4 <= end) {
      const code = this.#u16(option);
      const size = this.#u16(option + 2);
      if (code === OPTION_END) break;
      if (option + 4 + size > end) throw this.#malformed(`option ${code} goes beyond its block`, option);
      if (code === OPTION_TIME_RESOLUTION && size >= 1) ticksPerSecond = this.#resolution(option + 4);
      if (code === OPTION_TIME_OFFSET && size >= 8) {
        offsetSeconds = this.#view.getBigInt64(option + 4, this.#littleEndian);
      }
      option += 4 + ((size + 3) & ~3);
    }
    const clock = packetClock(ticksPerSecond, offsetSeconds);
    this.#interfaces.push({ linkType: this.#u16(at + 8), snapLength: this.#u32(at + 12), clock });
  }

  /** A negative power of ten, or of two when the highest bit is set. */
  #resolution(at: number): bigint {
    const value = this.#view.getUint8(at);
    const exponent = BigInt(value & 0x7f);
    const ticks = value >= 0x80 ? 2n ** exponent : 10n ** exponent;
    // Finer than 2^-63 s, no 64-bit time could reach a second.
    if (ticks >= 1n << 63n) throw this.#malformed(`a time resolution of ${value}`, at);
    return ticks;
  }

  #interface(index: number, at: number): CaptureInterface {
    const found = this.#interfaces[index];
    if (found !== undefined) return found;
    throw this.#malformed(`a packet of interface ${index}, but ${this.#interfaces.length} are described`, at);
  }

  #readPacket(at: number, blockLength: number, index: number): void {
    const from = this.#interface(index, at + 8);
    const length = this.#u32(at + 20);
    if (length > blockLength - PACKET_MIN_BYTES) {
      throw this.#malformed(`${length} captured bytes in a block of ${blockLength}`, at + 20);
    }
    this.#builder.add(at + 28, length, this.#u32(at + 24), from.linkType);
    this.#builder.stamp(from.clock, this.#u32(at + 12), this.#u32(at + 16));
  }

  /** No time, no interface number (it is 0), no captured length: the smaller of wire and snap length. */
  #readSimplePacket(at: number, blockLength: number): void {
    this.#need(at, blockLength, SIMPLE_MIN_BYTES, "a simple packet block");
    const from = this.#interface(0, at);
    const wireLength = this.#u32(at + 8);
    const snapLength = from.snapLength === 0 ? Infinity : from.snapLength;
    const length = Math.min(wireLength, snapLength);
    if (length > blockLength - SIMPLE_MIN_BYTES) {
      throw this.#malformed(`${length} captured bytes in a block of ${blockLength}`, at + 8);
    }
    this.#builder.add(at + 12, length, wireLength, from.linkType);
  }
}
