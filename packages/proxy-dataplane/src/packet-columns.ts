/**
 * What is known of each packet of a pool, by id; in shared memory. A packet's columns are written by the CPU that holds
 * the packet alone; handing a packet on must synchronise, as any queue between CPUs does.
 *
 * @public
 */
export interface PacketColumns {
  /** Where the packet begins in the pool's bytes. */
  readonly offsets: Int32Array;
  /** Bytes that are there. */
  readonly lengths: Int32Array;
  /** Bytes on the wire; more than `lengths` for a packet that was captured in part. */
  readonly wireLengths: Int32Array;
  /** A number of {@link LinkType}. */
  readonly linkTypes: Int32Array;
  /** The next piece of a packet whose bytes lie in several buffers; 0 behind the last. */
  readonly nexts: Int32Array;
  /** Hash of the flow as the card tells it, and receive queue; free for the user. */
  readonly hashes: Int32Array;
  readonly queues: Int32Array;
  /** Free for the user. */
  readonly marks: Int32Array;
  /** Arrival in nanoseconds, free for the user. */
  readonly timestampsNs: Float64Array;
}

/** Columns that the pool keeps for itself. */
export interface PrivateColumns {
  /** All columns of words one behind the other, {@link COLUMN} of them, `stride` apart: what reads many of them needs one array. */
  readonly all: Int32Array;
  readonly stride: number;
  /** Where the buffer of an owner begins; 0 before its first use. */
  readonly buffers: Int32Array;
  /** The id whose buffer a packet's bytes are in: its own unless it is a clone. */
  readonly owners: Int32Array;
  /** How many packets use an owner's buffer. Atomics only. */
  readonly references: Int32Array;
  /** 1 while the id is given out. */
  readonly live: Int32Array;
  /** CPU that holds the packet, plus 1; 0 = nobody says so. Kept by `markOwned`, and always in a checked pool. */
  readonly holders: Int32Array;
}

/** Numbers of the columns that are read for every packet. */
export const COLUMN: Readonly<Record<"offsets" | "lengths" | "wireLengths" | "linkTypes", number>> = {
  offsets: 0,
  lengths: 1,
  wireLengths: 2,
  linkTypes: 3,
};
const INT_COLUMNS = 13;

export function columnBytes(ids: number): number {
  return (ids + 1) * (INT_COLUMNS * 4 + 8) + 8;
}

export function columnsOf(memory: SharedArrayBuffer, ids: number): PacketColumns & PrivateColumns {
  const rows = ids + 1;
  const ints = (column: number): Int32Array => new Int32Array(memory, rows * 8 + column * rows * 4, rows);
  return {
    timestampsNs: new Float64Array(memory, 0, rows),
    all: new Int32Array(memory, rows * 8, INT_COLUMNS * rows),
    stride: rows,
    offsets: ints(COLUMN.offsets),
    lengths: ints(COLUMN.lengths),
    wireLengths: ints(COLUMN.wireLengths),
    linkTypes: ints(COLUMN.linkTypes),
    marks: ints(4),
    buffers: ints(5),
    owners: ints(6),
    references: ints(7),
    live: ints(8),
    nexts: ints(9),
    hashes: ints(10),
    queues: ints(11),
    holders: ints(12),
  };
}
