import { ACCEPTED, DatagramTable, DUPLICATE, KNOWN, LOST, PASSED, WAITING } from "../datagram-table.ts";
import type { GraphNode } from "../graph.ts";
import type { NodeParts } from "../node-parts.ts";
import { KEY_IPV6, KEY_WORDS, NetworkKind, PacketInfo } from "../packet-info.ts";
import { parsePacket } from "../packet-pool.ts";
import { META_FIRST_FRAGMENT, META_LATER_FRAGMENT, Verdict, type PacketVector } from "../packet-vector.ts";
import { MAX_BATCH } from "../parameters.ts";
import { IpProtocol, PROTOCOL_DCCP, PROTOCOL_SCTP, PROTOCOL_UDP_LITE } from "../protocols.ts";
import { DropReason, SLOT_OF } from "../statistics.ts";
import { isSourceRouted } from "../verify-checksums.ts";
import { fillGeneral } from "./parse.ts";

/** As Linux's net.ipv4.ipfrag_time. */
const TIMEOUT_MS = 30_000;
const MAX_DATAGRAM_BYTES = 65_535;
/** A fragment that begins here lies inside of a TCP header (RFC 1858, RFC 3128). */
const INSIDE_TCP_HEADER = 8;

/**
 * Fragments are reassembled virtually, as VPP's shallow virtual reassembly does: what the first fragment says of ports goes for the
 * others of its datagram, which are sent on one by one with their connection. Those that come before the first wait for it, as many as
 * there is room for. Overlaps lose a datagram; time and number of datagrams are bounded.
 *
 * Fragments of one datagram must come to one thread, as receive queues that are chosen by addresses alone for fragments give them.
 */
export class FragmentsNode implements GraphNode {
  readonly name = "fragments";
  readonly #parts: NodeParts;
  readonly #table: DatagramTable;
  readonly #info = new PacketInfo();
  /** Source, destination, identification; protocol of IPv4. */
  readonly #key = new Int32Array(KEY_WORDS);
  /** Fragments that wait, by number from 1: for the first of their datagram, or, with ports and protocol, for room in a vector. */
  readonly #packets: Int32Array;
  readonly #next: Int32Array;
  readonly #ports: Int32Array;
  readonly #protocols: Int32Array;
  #free: number;
  #readyHead = 0;
  #readyTail = 0;

  constructor(parts: NodeParts, datagrams: number, held: number) {
    this.#parts = parts;
    this.#table = new DatagramTable(datagrams);
    this.#packets = new Int32Array(held + 1);
    this.#next = new Int32Array(held + 1);
    this.#ports = new Int32Array(held + 1);
    this.#protocols = new Int32Array(held + 1);
    for (let h = 1; h < held; h++) this.#next[h] = h + 1;
    this.#free = held === 0 ? 0 : 1;
  }

  process(vector: PacketVector, positions: Int32Array, count: number): number {
    if (this.#table.count > 0) this.expire(vector.nowMs);
    let kept = count;
    for (let f = 0; f < vector.fragmentCount; f++) {
      const i = vector.fragments[f];
      if (vector.verdicts[i] === Verdict.Direct && this.#one(vector, i)) positions[kept++] = i;
    }
    while (this.#readyHead !== 0 && vector.count < MAX_BATCH) positions[kept++] = this.#resume(vector);
    if (kept !== count) {
      vector.dense = false;
      this.#parts.counters.addOn(vector.cpu, SLOT_OF.fragmentsTracked, kept - count);
    }
    return kept;
  }

  /** Gives up datagrams that have been under way for too long. */
  expire(nowMs: number): void {
    const table = this.#table;
    while (table.oldest !== 0 && ((nowMs - table.createdMs[table.oldest]) | 0) >= TIMEOUT_MS)
      this.#forget(table.oldest);
  }

  /** Whether the fragment at a position belongs to a flow; if not, its verdict says what becomes of it. */
  #one(vector: PacketVector, i: number): boolean {
    const { pool } = this.#parts;
    const info = this.#info;
    parsePacket(pool, vector.packets[i], info);
    if (isSourceRouted(pool.bytes, info)) return false;
    const from = info.fragmentOffset;
    const bytes = info.networkEnd - info.fragmentStart;
    const isLast = info.moreFragments === 0;
    if (bytes <= 0 || from + bytes > MAX_DATAGRAM_BYTES || (!isLast && (bytes & 7) !== 0) || isTiny(info)) {
      return this.#refuse(vector, i);
    }
    const id = this.#datagram(vector.nowMs);
    const table = this.#table;
    const accepted = table.accept(id, from, from + bytes, isLast);
    if (accepted !== ACCEPTED) {
      if (accepted !== DUPLICATE) this.#lose(id);
      return this.#refuse(vector, i);
    }
    const isTracked = from === 0 ? this.#first(vector, i, id) : this.#later(vector, i, id);
    if (table.isComplete(id) && table.heldHeads[id] === 0) table.end(id);
    return isTracked;
  }

  /** The datagram of the packet in `#info`; the oldest one gives way when there is no room. */
  #datagram(nowMs: number): number {
    const table = this.#table;
    const key = this.#key;
    const { key: flow, network, protocol, fragmentId } = this.#info;
    for (let word = 0; word < 8; word++) key[word] = flow[word];
    key[8] = fragmentId;
    key[9] = network === NetworkKind.Ipv6 ? KEY_IPV6 : protocol;
    const hash = this.#parts.table.hash(key, 0);
    const id = table.find(key, hash);
    if (id !== 0) return id;
    if (table.count === table.capacity) this.#forget(table.oldest);
    return table.begin(key, hash, nowMs);
  }

  #first(vector: PacketVector, i: number, id: number): boolean {
    const info = this.#info;
    const table = this.#table;
    const isIcmp = info.protocol === IpProtocol.Icmp || info.protocol === IpProtocol.Icmpv6;
    table.ports[id] = info.key[8];
    table.protocols[id] = info.protocol;
    table.states[id] = isIcmp && info.isEcho === 0 ? PASSED : KNOWN;
    this.#release(id);
    if (table.states[id] === PASSED) return false;
    fillGeneral(vector, i, info);
    vector.metas[i] |= META_FIRST_FRAGMENT;
    vector.verdicts[i] = Verdict.Tracked;
    return true;
  }

  #later(vector: PacketVector, i: number, id: number): boolean {
    const table = this.#table;
    if (table.states[id] === WAITING) this.#hold(vector, i, id);
    if (table.states[id] !== KNOWN) return false;
    this.#fill(vector, i, table.ports[id], table.protocols[id]);
    return true;
  }

  /** Columns of a later fragment, parsed into `#info`, whose ports and protocol are those of the first. */
  #fill(vector: PacketVector, i: number, ports: number, protocol: number): void {
    const info = this.#info;
    info.key[8] = ports;
    info.key[9] = (info.key[9] & KEY_IPV6) | protocol;
    info.protocol = protocol;
    fillGeneral(vector, i, info);
    vector.metas[i] |= META_LATER_FRAGMENT;
    vector.tcpFlags[i] = 0;
    vector.payloads[i] = 0;
    vector.verdicts[i] = Verdict.Tracked;
  }

  /** Keeps a fragment until the first one comes; where there is no room it is sent on as it is. */
  #hold(vector: PacketVector, i: number, id: number): void {
    const h = this.#free;
    if (h === 0) return;
    this.#free = this.#next[h];
    this.#packets[h] = vector.packets[i];
    this.#next[h] = 0;
    const table = this.#table;
    if (table.heldHeads[id] === 0) table.heldHeads[id] = h;
    else this.#next[table.heldTails[id]] = h;
    table.heldTails[id] = h;
    vector.verdicts[i] = Verdict.Held;
    this.#parts.counters.addOn(vector.cpu, SLOT_OF.fragmentsHeld, 1);
  }

  /** The fragments that wait for the first one of a datagram, which has come, are ready to go. */
  #release(id: number): void {
    const table = this.#table;
    const head = table.heldHeads[id];
    if (head === 0) return;
    for (let h = head; h !== 0; h = this.#next[h]) {
      this.#ports[h] = table.ports[id];
      this.#protocols[h] = table.states[id] === KNOWN ? table.protocols[id] : -1;
    }
    if (this.#readyHead === 0) this.#readyHead = head;
    else this.#next[this.#readyTail] = head;
    this.#readyTail = table.heldTails[id];
    table.heldHeads[id] = table.heldTails[id] = 0;
  }

  /** Puts a fragment that waited behind the packets of a vector; returns its position. */
  #resume(vector: PacketVector): number {
    const { pool } = this.#parts;
    const h = this.#readyHead;
    this.#readyHead = this.#next[h];
    const i = vector.count++;
    vector.resumed++;
    vector.packets[i] = this.#packets[h];
    vector.wireLengths[i] = pool.columns.wireLengths[this.#packets[h]];
    vector.values[i] = 0;
    parsePacket(pool, this.#packets[h], this.#info);
    this.#fill(vector, i, this.#ports[h], Math.max(0, this.#protocols[h]));
    if (this.#protocols[h] < 0) vector.direct(i);
    this.#next[h] = this.#free;
    this.#free = h;
    return i;
  }

  #refuse(vector: PacketVector, i: number): boolean {
    vector.drop(i, DropReason.Fragment);
    return false;
  }

  /** What comes of the datagram from now on is dropped, until its time is over. */
  #lose(id: number): void {
    this.#dropHeld(id);
    this.#table.states[id] = LOST;
  }

  #forget(id: number): void {
    this.#dropHeld(id);
    this.#table.end(id);
  }

  #dropHeld(id: number): void {
    const table = this.#table;
    const { counters, hal, observer } = this.#parts;
    for (let h = table.heldHeads[id]; h !== 0;) {
      const next = this.#next[h];
      this.#parts.pool.free(this.#packets[h]);
      counters.addOn(hal.currentCpu(), SLOT_OF.dropFragment, 1);
      counters.addOn(hal.currentCpu(), SLOT_OF.packetsDropped, 1);
      observer?.onDrop?.(hal.currentCpu(), DropReason.Fragment);
      this.#next[h] = this.#free;
      this.#free = h;
      h = next;
    }
    table.heldHeads[id] = table.heldTails[id] = 0;
  }
}

/** A first fragment without a whole transport header, or a later one that begins inside of it: made to get past filters. */
function isTiny(info: PacketInfo): boolean {
  if (info.fragmentOffset > 0) return info.fragmentOffset === INSIDE_TCP_HEADER && info.protocol === IpProtocol.Tcp;
  switch (info.protocol) {
    case IpProtocol.Tcp:
    case IpProtocol.Udp:
    case IpProtocol.Icmp:
    case IpProtocol.Icmpv6:
    case PROTOCOL_DCCP:
    case PROTOCOL_SCTP:
    case PROTOCOL_UDP_LITE:
      return info.transportHeaderLength === 0;
    default:
      return false;
  }
}
