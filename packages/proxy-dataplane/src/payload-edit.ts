import { adjustChecksum, adjustUdpChecksum, replaceHalf } from "./checksum-patch.ts";
import { fold, sumWords } from "./checksum.ts";
import { DataplaneError } from "./errors.ts";
import { moveTo, unshareAt } from "./nodes/unshare.ts";
import type { PacketPool } from "./packet-pool.ts";
import {
  META_FIRST_FRAGMENT,
  META_IPV6,
  META_LATER_FRAGMENT,
  transportOf,
  type PacketVector,
} from "./packet-vector.ts";
import { IpProtocol } from "./protocols.ts";
import { MAX_BATCH } from "./parameters.ts";
import type { SequenceShifts } from "./sequence-shifts.ts";
import { word } from "./words.ts";

const FRAGMENT = META_FIRST_FRAGMENT | META_LATER_FRAGMENT;
const UDP_BYTES = 8;
const UDP_LENGTH = 4;
const UDP_CHECKSUM = 6;
const TCP_CHECKSUM = 16;
const TCP_SEQUENCE = 4;
const IPV4_LENGTH = 2;
const IPV4_CHECKSUM = 10;
const IPV6_LENGTH = 4;
const IPV6_FIXED_BYTES = 40;
const MAX_LENGTH = 0xffff;

/**
 * Replaces bytes in the payload of packets, as nodes that rewrite an application's protocol do; lengths, checksums and the
 * connection's sequence numbers follow.
 */
export class PayloadEditor {
  readonly #pool: PacketPool;
  readonly #shifts: SequenceShifts;
  /** The vector in which the packet at a position was changed last, and whether that was counted. */
  readonly #passes = new Int32Array(MAX_BATCH);
  readonly #counted = new Uint8Array(MAX_BATCH);

  constructor(pool: PacketPool, shifts: SequenceShifts) {
    this.#pool = pool;
    this.#shifts = shifts;
  }

  /**
   * Puts `replacement` in place of `length` bytes from `offset` of the payload of the TCP or UDP packet at position `i`, which must
   * belong to a connection. Returns false, with nothing changed but perhaps a private copy of its bytes, when the packet is not here whole
   * or is a fragment, or would not fit a buffer or its length field.
   */
  replace(vector: PacketVector, i: number, offset: number, length: number, replacement: Uint8Array): boolean {
    const pool = this.#pool;
    const { columns } = pool;
    const protocol = vector.metas[i] & 0xff;
    const isTcp = protocol === IpProtocol.Tcp;
    if ((!isTcp && protocol !== IpProtocol.Udp) || vector.values[i] === 0) {
      throw new DataplaneError("DATAPLANE_INVALID_ARGUMENT", `position ${i} is no TCP or UDP packet of a connection`);
    }
    if ((vector.metas[i] & FRAGMENT) !== 0) return false;
    const headerBytes = isTcp ? (pool.bytes[transportOf(vector, i) + 12] >> 4) * 4 : UDP_BYTES;
    const payload = isTcp ? vector.payloads[i] : this.#half(vector, i, UDP_LENGTH) - UDP_BYTES;
    if (offset < 0 || length < 0 || offset + length > payload) {
      throw new DataplaneError(
        "DATAPLANE_INVALID_ARGUMENT",
        `${length} bytes at ${offset} are not in a payload of ${payload}`,
      );
    }
    const delta = replacement.length - length;
    const packet = vector.packets[i];
    const end = transportOf(vector, i) + headerBytes + payload;
    if (end > columns.offsets[packet] + columns.lengths[packet]) return false;
    if (end + delta - vector.networks[i] > MAX_LENGTH) return false;
    if (!(delta > 0 ? this.#roomier(vector, i, delta) : unshareAt(pool, vector, i))) return false;
    this.#splice(vector, i, headerBytes, payload, offset, length, replacement);
    if (isTcp && delta !== 0) this.#shift(vector, i, delta);
    return true;
  }

  /** Counts the change: a second one of a segment on the same way belongs to the first. */
  #shift(vector: PacketVector, i: number, delta: number): void {
    const value = vector.values[i];
    if (this.#passes[i] === vector.pass) {
      if (this.#counted[i] === 1) this.#shifts.addMore(value, delta);
      return;
    }
    const sequence = word(this.#pool.bytes, transportOf(vector, i) + TCP_SEQUENCE);
    this.#passes[i] = vector.pass;
    this.#counted[i] = this.#shifts.add(value, sequence, delta) ? 1 : 0;
  }

  /** Moves the packet into a buffer of its own that has room for `delta` bytes more; false without one. */
  #roomier(vector: PacketVector, i: number, delta: number): boolean {
    const pool = this.#pool;
    const { columns } = pool;
    const packet = vector.packets[i];
    if (columns.lengths[packet] + delta > pool.bufferBytes) return false;
    const start = columns.offsets[packet];
    const copy = pool.copy(packet);
    if (copy === 0) return false;
    pool.free(packet);
    moveTo(pool, vector, i, copy, start);
    return true;
  }

  #splice(
    vector: PacketVector,
    i: number,
    headerBytes: number,
    payload: number,
    offset: number,
    length: number,
    replacement: Uint8Array,
  ): void {
    const { bytes, columns } = this.#pool;
    const packet = vector.packets[i];
    const transport = transportOf(vector, i);
    const delta = replacement.length - length;
    const at = transport + headerBytes + offset;
    const end = transport + headerBytes + payload;
    // From an even place of what the checksum covers.
    const from = at - ((at - transport) & 1);
    const before = sumWords(bytes, from, end, 0);
    const packetEnd = columns.offsets[packet] + columns.lengths[packet];
    bytes.copyWithin(at + replacement.length, at + length, packetEnd);
    bytes.set(replacement, at);
    columns.lengths[packet] += delta;
    columns.wireLengths[packet] += delta;
    vector.wireLengths[i] += delta;
    vector.payloads[i] += delta;
    const after = sumWords(bytes, from, end + delta, 0);
    this.#setLengths(vector, i, delta, (~fold(before) & 0xffff) + fold(after));
  }

  /** Writes the lengths and checksums of headers; `change` is what the payload adds to a sum. */
  #setLengths(vector: PacketVector, i: number, delta: number, change: number): void {
    const { bytes } = this.#pool;
    const network = vector.networks[i];
    const transport = transportOf(vector, i);
    const isIpv6 = (vector.metas[i] & META_IPV6) !== 0;
    const lengthAt = network + (isIpv6 ? IPV6_LENGTH : IPV4_LENGTH);
    const total = ((bytes[lengthAt] << 8) | bytes[lengthAt + 1]) + delta;
    const header = replaceHalf(bytes, lengthAt, total);
    if (!isIpv6 && header !== 0) adjustChecksum(bytes, network + IPV4_CHECKSUM, header);
    // The pseudo-header counts the transport's length.
    const covered = network + (isIpv6 ? IPV6_FIXED_BYTES : 0) + total - transport;
    const pseudo = (~(covered - delta) & 0xffff) + (covered & 0xffff);
    if ((vector.metas[i] & 0xff) === IpProtocol.Tcp) {
      adjustChecksum(bytes, transport + TCP_CHECKSUM, change + pseudo);
      return;
    }
    const udpLength = this.#half(vector, i, UDP_LENGTH);
    const own = replaceHalf(bytes, transport + UDP_LENGTH, udpLength + delta);
    // In the header and in the pseudo-header.
    adjustUdpChecksum(bytes, transport + UDP_CHECKSUM, change + 2 * own);
  }

  #half(vector: PacketVector, i: number, at: number): number {
    const { bytes } = this.#pool;
    const from = transportOf(vector, i) + at;
    return (bytes[from] << 8) | bytes[from + 1];
  }
}
