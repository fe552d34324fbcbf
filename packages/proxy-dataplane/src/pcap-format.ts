import type { Capture } from "./capture.ts";
import type { CaptureBuilder } from "./capture-builder.ts";

/*
 * File header, 24 bytes: magic u32, major u16, minor u16, reserved 2 x u32, snap length u32, link type u32
 * Record header, 16 bytes: seconds u32, micro- or nanoseconds u32, captured length u32, length on the wire u32
 * Byte order and resolution are told by the magic.
 */
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
/** Records of the modified format carry interface index, protocol and packet type too. */
const MODIFIED_RECORD_HEADER_BYTES = 24;

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const MAGIC_MODIFIED = 0xa1b2cd34;
/** The upper bits of the link type word tell about a frame check sequence. */
const LINK_TYPE_MASK = 0x03ffffff;

function isMagic(magic: number): boolean {
  return magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS || magic === MAGIC_MODIFIED;
}

function magicOf(bytes: Uint8Array, littleEndian: boolean): number {
  const [a, b, c, d] = littleEndian ? [bytes[3], bytes[2], bytes[1], bytes[0]] : bytes;
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

export function isPcap(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && (isMagic(magicOf(bytes, false)) || isMagic(magicOf(bytes, true)));
}

export function readPcap(builder: CaptureBuilder): Capture {
  const { bytes, view } = builder;
  if (bytes.length < FILE_HEADER_BYTES) {
    throw builder.error("CAPTURE_TRUNCATED", `a pcap header has 24 bytes, the file ${bytes.length}`, 0);
  }
  const littleEndian = isMagic(magicOf(bytes, true));
  const magic = view.getUint32(0, littleEndian);
  const major = view.getUint16(4, littleEndian);
  const minor = view.getUint16(6, littleEndian);
  if (major !== 2) throw builder.error("CAPTURE_MALFORMED", `pcap version ${major}.${minor}; only 2.x is known`, 4);
  const linkType = view.getUint32(20, littleEndian) & LINK_TYPE_MASK;
  const nanoseconds = magic === MAGIC_NANOSECONDS;
  readRecords(builder, littleEndian, linkType, nanoseconds, {
    headerBytes: magic === MAGIC_MODIFIED ? MODIFIED_RECORD_HEADER_BYTES : RECORD_HEADER_BYTES,
    // Before version 2.3 the two lengths were the other way round; 2.3 was written in both ways.
    swappedLengths: minor < 3,
    maybeSwapped: minor === 3,
  });
  return builder.finish("pcap");
}

interface RecordFormat {
  readonly headerBytes: number;
  readonly swappedLengths: boolean;
  readonly maybeSwapped: boolean;
}

function readRecords(
  builder: CaptureBuilder,
  littleEndian: boolean,
  linkType: number,
  nanoseconds: boolean,
  format: RecordFormat,
): void {
  const { view } = builder;
  const end = view.byteLength;
  const { headerBytes } = format;
  let at = FILE_HEADER_BYTES;
  while (at < end) {
    if (at + headerBytes > end) return builder.truncated("a record header", at);
    let length = view.getUint32(at + 8, littleEndian);
    let wireLength = view.getUint32(at + 12, littleEndian);
    if (format.swappedLengths || (format.maybeSwapped && length > wireLength)) {
      [length, wireLength] = [wireLength, length];
    }
    if (at + headerBytes + length > end) return builder.truncated(`a record of ${length} bytes`, at);
    builder.add(at + headerBytes, length, wireLength, linkType);
    const fraction = view.getUint32(at + 4, littleEndian);
    builder.stampSeconds(view.getUint32(at, littleEndian), nanoseconds ? fraction : fraction * 1000);
    at += headerBytes + length;
  }
}
