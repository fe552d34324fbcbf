import { DropReason } from "./statistics.ts";
import { MAX_BATCH } from "./parameters.ts";
import { KEY_WORDS } from "./packet-info.ts";

/**
 * What becomes of a packet of a {@link PacketVector}.
 *
 * @public
 */
export const Verdict: {
  /** It goes the whole way: it belongs to a connection. */
  readonly Tracked: 0;
  /** It is sent on as it is. */
  readonly Direct: 1;
  readonly Dropped: 2;
  /** The data path keeps it and sends it later, or has sent something else in its place. */
  readonly Held: 3;
  /** It was dropped; what lies in its place is an answer to its sender. */
  readonly Answered: 4;
} = { Tracked: 0, Direct: 1, Dropped: 2, Held: 3, Answered: 4 };

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type Verdict = 0 | 1 | 2 | 3 | 4;

/** Set in a packet's `metas` for IPv6. */
export const META_IPV6 = 0x100;
/** Set in a packet's `metas`: IPv4 of five words at a multiple of four, then TCP or UDP; nothing is wrong with it, and it is no fragment. */
export const META_COMMON = 0x200;
/** The same of IPv6 without extension headers. */
export const META_COMMON_IPV6 = 0x1000;
/** Set in a packet's `metas`: a first fragment; a later one, which has no transport header. */
export const META_FIRST_FRAGMENT = 0x400;
export const META_LATER_FRAGMENT = 0x800;
/** What tells flows apart in `metas`. */
export const META_FLOW = 0x1ff;

const COLUMNS = [
  "packets",
  "verdicts",
  "wireLengths",
  "networks",
  "transports",
  "sources",
  "destinations",
  "ports",
  "metas",
  "hashes",
  "values",
  "sequences",
  "acknowledgements",
  "tcpFlags",
  "windows",
  "payloads",
] as const;

/** Where each column begins in {@link PacketVector.rows}. */
export const ROW: Readonly<Record<(typeof COLUMNS)[number], number>> = Object.fromEntries(
  COLUMNS.map((name, at) => [name, at * MAX_BATCH]),
) as Record<(typeof COLUMNS)[number], number>;

/**
 * The packets that go through the graph together, as columns by position: structure of arrays, made once for each thread.
 * A node reads and writes the columns at the positions it is given; other positions hold what an earlier vector left.
 *
 * Words of headers are as an aligned load gives them on a little-endian host («raw»): the first byte is the lowest. They are
 * compared, hashed and stored, never counted with.
 *
 * Thread-safety: private to its thread, valid during a call of a node.
 *
 * @public
 */
export class PacketVector {
  /** The CPU that plays, and the time of the vector: milliseconds since the data path was made, modulo 2^32. */
  cpu = 0;
  nowMs = 0;
  /** The vectors that have gone through before and this one, modulo 2^32. */
  pass = 0;
  /** Packets in the vector: positions 0 to `count - 1`. */
  count = 0;
  /** Whether every packet is still on its way: then a node's `positions` are 0, 1, 2 … and need not be read. */
  dense = true;
  /** What the vector has brought: bytes in all; bytes from clients, packets and bytes from servers. */
  bytes = 0;
  sentBytes = 0;
  receivedPackets = 0;
  receivedBytes = 0;
  /**
   * The columns one behind the other, each from its number of `ROW`: what fills many of them needs one array.
   *
   * @internal
   */
  readonly rows: Int32Array = new Int32Array(COLUMNS.length * MAX_BATCH);
  /** Packet ids. */
  readonly packets: Int32Array = column(this.rows, ROW.packets);
  /** A `Verdict` each. */
  readonly verdicts: Int32Array = column(this.rows, ROW.verdicts);
  /** Bytes each packet had on the wire. */
  readonly wireLengths: Int32Array = column(this.rows, ROW.wireLengths);
  /** Offset of the IP header in the bytes of the pool; of the transport header unless `metas` has 0x200: then it is 20 bytes on. */
  readonly networks: Int32Array = column(this.rows, ROW.networks);
  readonly transports: Int32Array = column(this.rows, ROW.transports);
  /** Raw addresses; of IPv6, a digest of each. */
  readonly sources: Int32Array = column(this.rows, ROW.sources);
  readonly destinations: Int32Array = column(this.rows, ROW.destinations);
  /** Both ports raw, the source port in the lower half; of an ICMP echo its identifier twice. */
  readonly ports: Int32Array = column(this.rows, ROW.ports);
  /** Protocol number; plus 0x100 for IPv6; plus 0x200 for IPv4 without options, 0x1000 for IPv6 without extension headers, TCP or UDP, at a multiple of four. */
  readonly metas: Int32Array = column(this.rows, ROW.metas);
  readonly hashes: Int32Array = column(this.rows, ROW.hashes);
  /** Offset of the packet's connection, its direction in bit 0; 0 while it has none. */
  readonly values: Int32Array = column(this.rows, ROW.values);
  /** TCP: sequence and acknowledgement number, flags (bits 0-8), window as in the header, bytes of payload. */
  readonly sequences: Int32Array = column(this.rows, ROW.sequences);
  readonly acknowledgements: Int32Array = column(this.rows, ROW.acknowledgements);
  readonly tcpFlags: Int32Array = column(this.rows, ROW.tcpFlags);
  readonly windows: Int32Array = column(this.rows, ROW.windows);
  readonly payloads: Int32Array = column(this.rows, ROW.payloads);
  /** Flow keys of `@x/perf-cache`, ten words a position; of IPv4 packets only after they missed. */
  readonly keys: Int32Array = new Int32Array(MAX_BATCH * KEY_WORDS);
  /** Positions whose flow is not known yet, in order, and how many. */
  readonly misses: Int32Array = new Int32Array(MAX_BATCH);
  missCount = 0;
  /** Positions of fragments, in order, and how many; fragments that have waited come behind all others, so many. */
  readonly fragments: Int32Array = new Int32Array(MAX_BATCH);
  fragmentCount = 0;
  resumed = 0;
  /** Positions of ICMP errors, in order, and how many; they are sent on as they are unless they belong to a connection. */
  readonly errors: Int32Array = new Int32Array(MAX_BATCH);
  errorCount = 0;
  /** Packets to send right behind that of a position: their ids, the positions in order, and how many. */
  readonly followers: Int32Array;
  readonly followed: Int32Array;
  followerCount = 0;
  /** Where packets to send go, and how many are there. */
  out: Int32Array = new Int32Array(0);
  sent = 0;
  readonly #onDrop: (position: number, reason: DropReason) => void;

  /** `followers`: how many packets may follow one position, at most. */
  constructor(onDrop: (position: number, reason: DropReason) => void, followers = 0) {
    this.#onDrop = onDrop;
    this.followers = new Int32Array(MAX_BATCH * followers);
    this.followed = new Int32Array(MAX_BATCH * followers);
  }

  /** Ends the way of the packet at `position`: it is counted by reason and freed. */
  drop(position: number, reason: DropReason = DropReason.Node): void {
    this.verdicts[position] = Verdict.Dropped;
    this.#onDrop(position, reason);
  }

  /** Sends the packet at `position` on as it is now. */
  direct(position: number): void {
    this.verdicts[position] = Verdict.Direct;
  }

  /** Keeps, in order, those of `positions[0, count)` that are still tracked; returns how many. */
  keepTracked(positions: Int32Array, count: number): number {
    const { verdicts } = this;
    let kept = 0;
    for (let p = 0; p < count; p++) {
      const position = positions[p];
      positions[kept] = position;
      if (verdicts[position] === Verdict.Tracked) kept++;
    }
    if (kept !== count) this.dense = false;
    return kept;
  }
}

function column(rows: Int32Array, from: number): Int32Array {
  return rows.subarray(from, from + MAX_BATCH);
}

const IPV4_BYTES = 20;

/** Offset of the transport header of the packet at `i`. */
export function transportOf(vector: PacketVector, i: number): number {
  return (vector.metas[i] & META_COMMON) === 0 ? vector.transports[i] : vector.networks[i] + IPV4_BYTES;
}
