import { CaptureBuilder } from "./capture-builder.ts";
import { isPcap, readPcap } from "./pcap-format.ts";
import { isPcapng, readPcapng } from "./pcapng-format.ts";

/**
 * The packets of a capture file as columns over the bytes of the file: packet `i` is
 * `bytes[offsets[i], offsets[i] + lengths[i])`.
 *
 * @public
 */
export interface Capture {
  /** The whole file. */
  readonly bytes: Uint8Array;
  readonly format: "pcap" | "pcapng";
  /** Packets. */
  readonly count: number;
  readonly offsets: Float64Array;
  /** Bytes captured. */
  readonly lengths: Uint32Array;
  /** Bytes on the wire; {@link Capture.lengths} is smaller where the capture kept a part only. */
  readonly wireLengths: Uint32Array;
  /** Numbers of {@link LinkType} and others of its registry. */
  readonly linkTypes: Uint16Array;
  /** Nanoseconds since the first packet that has a time; exact below 2^53. Packets without a time have 0. */
  readonly timestampsNs: Float64Array;
  /** Seconds from the epoch to the first packet that has a time, and nanoseconds within that second. */
  readonly startSeconds: number;
  readonly startNanoseconds: number;
  /** Where the last, incomplete record begins; -1 when the file is whole. Only with `allowTruncated`. */
  readonly truncatedAt: number;
  /** Calls `visit` for each packet in file order. */
  forEachPacket(visit: (index: number, offset: number, length: number, wireLength: number) => void): void;
}

/**
 * Opens a packet capture: pcap (both byte orders, micro- and nanoseconds) or pcapng (both byte orders, several sections
 * and interfaces; enhanced, simple and old packet blocks; other blocks are skipped).
 *
 * Format: IETF drafts draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
 *
 * @param bytes - the whole file; it is kept, not copied
 * @param source - name of the file, for errors
 * @param options - `allowTruncated`: a file that ends inside a record gives the packets before it instead of an error
 * @throws {@link DataplaneError} `CAPTURE_UNKNOWN_FORMAT`, `CAPTURE_TRUNCATED` or `CAPTURE_MALFORMED`, with the offset
 *
 * Cost: one pass over the record headers, 30 bytes of columns a packet.
 *
 * @public
 */
export function openCapture(
  bytes: Uint8Array,
  source?: string,
  options: { readonly allowTruncated?: boolean } = {},
): Capture {
  const builder = new CaptureBuilder(bytes, source, options.allowTruncated ?? false);
  if (isPcap(bytes)) return readPcap(builder);
  if (isPcapng(bytes)) return readPcapng(builder);
  if (bytes.length === 0) throw builder.error("CAPTURE_TRUNCATED", "the file is empty", 0);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    throw builder.error("CAPTURE_UNKNOWN_FORMAT", "the file is compressed with gzip; decompress it first", 0);
  }
  const magic = Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  throw builder.error("CAPTURE_UNKNOWN_FORMAT", `neither pcap nor pcapng: the file begins with ${magic}`, 0);
}
