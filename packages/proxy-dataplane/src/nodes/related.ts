import { adjustChecksum, replaceWord } from "../checksum-patch.ts";
import { FLAG_CHANGES, FLAG_SHIFTED, FLAGS, lineOf, ORIGINAL, REPLY } from "../connection-layout.ts";
import type { GraphNode } from "../graph.ts";
import { parseQuoted } from "../icmp.ts";
import type { NodeParts } from "../node-parts.ts";
import { KEY_IPV6, KEY_WORDS, PacketInfo } from "../packet-info.ts";
import { parsePacket } from "../packet-pool.ts";
import { Verdict, type PacketVector } from "../packet-vector.ts";
import { IpProtocol } from "../protocols.ts";
import { rewriteAddresses, rewriteTransport } from "../rewrite.ts";
import { SLOT_OF } from "../statistics.ts";
import { unshareAt } from "./unshare.ts";
import { word } from "../words.ts";

const ICMP_CHECKSUM = 2;
const TCP_SEQUENCE = 4;
const TCP_CHECKSUM = 16;

/**
 * ICMP errors about packets of connections (RFC 5508 section 4): the packet that is quoted becomes what its sender sent, and the error
 * goes to that sender. It comes from who sent it, or, when that is the far end of a connection itself, from whom the sender knows
 * in its place. Errors about no connection are sent on as they are, and so are those that were not sent to who sent the packet they
 * quote.
 */
export class RelatedNode implements GraphNode {
  readonly name = "related";
  readonly #parts: NodeParts;
  readonly #info = new PacketInfo();
  readonly #quoted = new PacketInfo();
  /** The quoted packet's flow the other way round: as its answers would come. */
  readonly #answer = new Int32Array(KEY_WORDS);
  /** Source and destination of the error. */
  readonly #ends = new Int32Array(8);

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  process(vector: PacketVector, _positions: Int32Array, count: number): number {
    for (let error = 0; error < vector.errorCount; error++) {
      const i = vector.errors[error];
      // A node may have dropped it.
      if (vector.verdicts[i] !== Verdict.Direct) continue;
      const slot = this.#one(vector, i);
      if (slot >= 0) this.#parts.counters.addOn(vector.cpu, slot, 1);
    }
    return count;
  }

  /** Returns the slot of what became of it; -1 when it was dropped for want of a buffer. */
  #one(vector: PacketVector, i: number): number {
    const { pool, connections } = this.#parts;
    const info = this.#info;
    const quoted = this.#quoted;
    parsePacket(pool, vector.packets[i], info);
    const value = parseQuoted(pool.bytes, info, quoted) ? this.#find() : 0;
    if (value === 0) return SLOT_OF.relatedUnknown;
    if (!isToSender(info, quoted)) return SLOT_OF.relatedInvalid;
    const { words } = connections;
    if ((words[lineOf(value) + FLAGS] & FLAG_CHANGES) === 0) return SLOT_OF.relatedUntouched;
    const start = pool.columns.offsets[vector.packets[i]];
    if (!unshareAt(pool, vector, i)) return -1;
    const moved = pool.columns.offsets[vector.packets[i]] - start;
    this.#translate((value >> 2) + ((value & 1) === 0 ? REPLY : ORIGINAL), value ^ 1, moved);
    return SLOT_OF.relatedTranslated;
  }

  /** The value of the connection that answers to the quoted packet would belong to; 0 without one. */
  #find(): number {
    const { table } = this.#parts;
    const { key } = this.#quoted;
    const answer = this.#answer;
    for (let i = 0; i < 4; i++) {
      answer[i] = key[4 + i];
      answer[4 + i] = key[i];
    }
    answer[8] = (key[8] << 16) | (key[8] >>> 16);
    answer[9] = key[9];
    const entry = table.lookup(answer, 0, table.hash(answer, 0));
    return entry === 0 ? 0 : table.value(entry);
  }

  /**
   * Gives the quoted packet the ends of the tuple at word `sent`, as its sender sent it in the direction of `value`. Headers lie
   * `moved` bytes behind where they were parsed.
   */
  #translate(sent: number, value: number, moved: number): void {
    const { pool, connections } = this.#parts;
    const { words } = connections;
    const { bytes } = pool;
    const info = this.#info;
    const { key, protocol, networkOffset, transportOffset, availableEnd } = this.#quoted;
    const transport = transportOffset + moved;
    // Whatever changes under the quoted header's own checksum cancels out with it, so only what the outer one sees anew counts.
    const addresses = rewriteAddresses(bytes, networkOffset + moved, key, 0, words, sent, sent + 4);
    let change = (key[9] & KEY_IPV6) !== 0 ? addresses : 0;
    change += rewriteTransport(bytes, transport, availableEnd + moved, key, 0, words[sent + 8], addresses);
    if (protocol === IpProtocol.Tcp) change += this.#unshift(transport, availableEnd + moved, value);
    const network = info.networkOffset + moved;
    const isFarEnd = isSame(info.key, 0, key, 4);
    for (let i = 0; i < 4; i++) {
      this.#ends[i] = isFarEnd ? words[sent + 4 + i] : info.key[i];
      this.#ends[4 + i] = words[sent + i];
    }
    const outer = rewriteAddresses(bytes, network, info.key, 0, this.#ends, 0, 4);
    if (info.protocol === IpProtocol.Icmpv6) change += outer;
    if (change !== 0) adjustChecksum(bytes, info.transportOffset + moved + ICMP_CHECKSUM, change);
  }

  /** Gives the quoted segment the sequence number that its sender used. Returns what that adds to the outer checksum. */
  #unshift(transport: number, end: number, value: number): number {
    const { pool, shifts, connections } = this.#parts;
    const { bytes } = pool;
    const at = transport + TCP_SEQUENCE;
    if ((connections.words[lineOf(value) + FLAGS] & FLAG_SHIFTED) === 0 || at + 4 > end) return 0;
    const now = word(bytes, at);
    const change = replaceWord(bytes, at, now, shifts.undone(value, now));
    if (change === 0 || transport + TCP_CHECKSUM + 2 > end) return change;
    return change + adjustChecksum(bytes, transport + TCP_CHECKSUM, change);
  }
}

/** Whether the error was sent to who sent the packet it quotes. */
function isToSender(info: PacketInfo, quoted: PacketInfo): boolean {
  return isSame(info.key, 4, quoted.key, 0);
}

function isSame(a: Int32Array, at: number, b: Int32Array, to: number): boolean {
  for (let i = 0; i < 4; i++) if (a[at + i] !== b[to + i]) return false;
  return true;
}
