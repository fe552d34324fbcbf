import { fragmentIpv4 } from "../fragment.ts";
import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { NetworkKind, PacketInfo, ParseResult } from "../packet-info.ts";
import { parsePacket } from "../packet-pool.ts";
import { Verdict, type PacketVector } from "../packet-vector.ts";
import { MAX_BATCH } from "../parameters.ts";
import { DropReason, SLOT_OF } from "../statistics.ts";
import { unshareAt } from "./unshare.ts";

const FLAGS = 6;
const DONT_FRAGMENT = 0x40;
/** No link that carries IPv6 has less (RFC 8200 section 5). */
const IPV6_LEAST_MTU = 1280;

/** What the two nodes of a path's MTU share: positions of packets that are to be fragmented when they are as they leave. */
class TooLong {
  readonly positions: Int32Array = new Int32Array(MAX_BATCH);
  count = 0;
}

/**
 * Finds packets that are longer than the MTU, on their way or sent on as they are. Who may not fragment (IPv6, or DF is set) is told so
 * (RFC 1191, RFC 8201) about the packet as it was sent, so this comes before rewriting; the packet is dropped. Others are fragmented
 * by {@link FragmentNode}, or dropped.
 */
export class PathMtuNode implements GraphNode {
  readonly name = "path-mtu";
  readonly #parts: NodeParts;
  readonly #mtu: number;
  readonly #fragments: boolean;
  readonly #tooLong: TooLong;
  readonly #info = new PacketInfo();

  constructor(parts: NodeParts, mtu: number, fragments: boolean, tooLong: TooLong) {
    this.#parts = parts;
    this.#mtu = mtu;
    this.#fragments = fragments;
    this.#tooLong = tooLong;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { wireLengths, verdicts } = vector;
    const mtu = this.#mtu;
    this.#tooLong.count = 0;
    let dropped = 0;
    for (let i = 0; i < vector.count; i++) {
      if (wireLengths[i] <= mtu || verdicts[i] > Verdict.Direct) continue;
      if (!this.#one(vector, i)) dropped++;
    }
    return dropped === 0 ? count : vector.keepTracked(positions, count);
  }

  /** Looks closely at a packet that may be too long; false when it was dropped. */
  #one(vector: PacketVector, i: number): boolean {
    const { pool, answers } = this.#parts;
    const info = this.#info;
    parsePacket(pool, vector.packets[i], info);
    if (info.networkEnd < 0) return true;
    const isIpv6 = info.network === NetworkKind.Ipv6;
    const mtu = isIpv6 ? Math.max(IPV6_LEAST_MTU, this.#mtu) : this.#mtu;
    if (info.networkEnd - info.networkOffset <= mtu) return true;
    const mayFragment = !isIpv6 && (pool.bytes[info.networkOffset + FLAGS] & DONT_FRAGMENT) === 0;
    const isWhole = info.availableEnd === info.networkEnd && info.result === ParseResult.Ok;
    if (mayFragment && this.#fragments && isWhole) {
      this.#tooLong.positions[this.#tooLong.count++] = i;
      return true;
    }
    vector.drop(i, DropReason.TooBig);
    if (!mayFragment) answers.tooBig(vector, i, mtu);
    return false;
  }
}

/** Fragments the packets that {@link PathMtuNode} has found, as they leave. */
export class FragmentNode implements GraphNode {
  readonly name = "fragment";
  readonly #parts: NodeParts;
  readonly #mtu: number;
  readonly #tooLong: TooLong;
  readonly #info = new PacketInfo();

  constructor(parts: NodeParts, mtu: number, tooLong: TooLong) {
    this.#parts = parts;
    this.#mtu = mtu;
    this.#tooLong = tooLong;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    const { positions: tooLong, count: long } = this.#tooLong;
    vector.followerCount = 0;
    if (long === 0) return count;
    for (let p = 0; p < long; p++) {
      if (vector.verdicts[tooLong[p]] <= Verdict.Direct) this.#one(vector, tooLong[p]);
    }
    vector.dense = false;
    return vector.keepTracked(positions, count);
  }

  #one(vector: PacketVector, i: number): void {
    const { pool, counters } = this.#parts;
    const { followers, followed } = vector;
    if (!unshareAt(pool, vector, i)) return;
    const packet = vector.packets[i];
    parsePacket(pool, packet, this.#info);
    const made = fragmentIpv4(pool, packet, this.#info, this.#mtu, followers, vector.followerCount);
    if (made === 0) {
      vector.drop(i, DropReason.NoBuffer);
      return;
    }
    followed.fill(i, vector.followerCount, vector.followerCount + made);
    vector.followerCount += made;
    counters.addOn(vector.cpu, SLOT_OF.fragmentedPackets, 1);
    counters.addOn(vector.cpu, SLOT_OF.fragmentsMade, made + 1);
  }
}

/** Both nodes, for a path of `mtu` bytes. */
export function mtuNodes(parts: NodeParts, mtu: number, fragments: boolean): [PathMtuNode, FragmentNode] {
  const tooLong = new TooLong();
  return [new PathMtuNode(parts, mtu, fragments, tooLong), new FragmentNode(parts, mtu, tooLong)];
}
