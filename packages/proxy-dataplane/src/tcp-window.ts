import * as layout from "./connection-layout.ts";
import { ROW, type PacketVector } from "./packet-vector.ts";
import { TcpFlag } from "./protocols.ts";
import type { SequenceShifts } from "./sequence-shifts.ts";

// An import is loaded anew wherever it is used, a constant of this module is not: packets are worked on with copies.
const {
  FLAG_LIBERAL,
  FLAG_SEEN,
  FLAG_SHIFTED,
  FLAG_TOLD,
  FLAGS,
  LINE_WORDS,
  SCALE_BITS,
  SCALE_SHIFT,
  TCP_EDGE,
  TCP_END,
  TCP_MAX_WINDOW,
} = layout;
const { Ack, Fin, Syn } = TcpFlag;
const { acknowledgements, payloads, sequences, tcpFlags, values, windows } = ROW;

/*
 * Whether a segment can be of the connection, after Guido van Rooij, «Real stateful TCP packet filtering in IP Filter», as
 * Linux's conntrack has it. Each direction keeps what its own side has said, so that every word has one writer:
 *
 *   end     sequence number after the last byte this side has sent
 *   edge    acknowledgement plus window: the other side may send up to here
 *   window  the largest window this side has opened
 *
 *   I    seq ≤ edge of the other side             not beyond what the receiver has room for
 *   II   end > own end - window of the other side not older than any window
 *   III  ack ≤ end of the other side              nothing that was not sent is acknowledged
 *   IV   ack ≥ end of the other side - 66000, or the largest own window
 *
 * A side that has not spoken, or has not acknowledged yet, limits nothing; a connection that was first seen in mid-stream has
 * an unknown window scale and is not judged.
 */
const LEAST_ACK_WINDOW = 66_000;
const OPENS = Syn | Fin;
const MAX_SCALE = 14;
const TCP_BYTES = 20;
const TCP_DATA_OFFSET = 12;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_SCALE = 3;
const NO_SCALE = -1;

/**
 * Judges the segment at position `i`, and learns from it unless it is out of window. `line` is that of its direction. What it
 * acknowledges is judged in the numbers of who sent that.
 */
export function judgeSegment(
  words: Int32Array,
  line: number,
  other: number,
  v: PacketVector,
  i: number,
  shifts: SequenceShifts,
): boolean {
  const own = words[line + FLAGS];
  const peer = words[other + FLAGS];
  const { rows } = v;
  let ack = rows[acknowledgements + i];
  if ((own & (FLAG_LIBERAL | FLAG_SHIFTED)) !== 0) {
    if ((own & FLAG_LIBERAL) !== 0) return true;
    ack = shifts.undone(rows[values + i] ^ 1, ack);
  }
  const flags = rows[tcpFlags + i];
  const seq = rows[sequences + i];
  const opening = flags & OPENS;
  const end = (seq + rows[payloads + i] + (opening & 1) + (opening >> 1)) | 0;
  const isAck = (flags & Ack) !== 0;
  // The window of a segment with SYN is never scaled (RFC 7323 section 2.2).
  const scale = (flags & Syn) === 0 ? (own >> SCALE_SHIFT) & SCALE_BITS : 0;
  const window = rows[windows + i] << scale;
  if ((peer & FLAG_SEEN) !== 0) {
    const peerEnd = words[other + TCP_END];
    if (isAck && ((ack - peerEnd) | 0) > 0) return false;
    const ackWindow = Math.max(LEAST_ACK_WINDOW, words[line + TCP_MAX_WINDOW]);
    if (isAck && ((peerEnd - ack) | 0) > ackWindow) return false;
    if ((own & FLAG_SEEN) !== 0 && !isNear(words, line, other, peer, seq, end)) return false;
  }
  if (isAck || (own & FLAG_SEEN) === 0) learn(words, line, own, end, isAck, ack, window);
  else if (((end - words[line + TCP_END]) | 0) > 0) words[line + TCP_END] = end;
  return true;
}

/** Conditions I and II, for a side that has spoken before. */
function isNear(words: Int32Array, line: number, other: number, peer: number, seq: number, end: number): boolean {
  if ((peer & FLAG_TOLD) !== 0 && ((seq - words[other + TCP_EDGE]) | 0) > 0) return false;
  return ((words[line + TCP_END] - end) | 0) <= words[other + TCP_MAX_WINDOW];
}

function learn(
  words: Int32Array,
  line: number,
  own: number,
  end: number,
  isAck: boolean,
  ack: number,
  window: number,
): void {
  const isNew = (own & FLAG_SEEN) === 0;
  if (isNew || ((end - words[line + TCP_END]) | 0) > 0) words[line + TCP_END] = end;
  if (isNew || window > words[line + TCP_MAX_WINDOW]) words[line + TCP_MAX_WINDOW] = Math.max(1, window);
  const edge = (ack + Math.max(1, window)) | 0;
  const told = own & FLAG_TOLD;
  if (isAck && (told === 0 || ((edge - words[line + TCP_EDGE]) | 0) > 0)) words[line + TCP_EDGE] = edge;
  const wanted = FLAG_SEEN | (isAck ? FLAG_TOLD : 0);
  // The flags' other writer takes the direction for a CPU, once: an atomic operation, at most two for each direction.
  if ((own & wanted) !== wanted) Atomics.or(words, line + FLAGS, wanted);
}

/**
 * Takes the window scales from the two segments with SYN: they hold when both have one (RFC 7323 section 2.2). Until the
 * answer is there the first one's is kept with its direction, in no use.
 */
export function learnScale(words: Int32Array, line: number, other: number, isAnswer: boolean, scale: number): void {
  putScale(words, line, Math.max(0, scale) << SCALE_SHIFT);
  if (scale === NO_SCALE && isAnswer) putScale(words, other, 0);
}

/** Few segments change anything: atomic operations are for those that do. */
function putScale(words: Int32Array, line: number, shifted: number): void {
  const mask = SCALE_BITS << SCALE_SHIFT;
  const before = words[line + FLAGS] & mask;
  if ((before & ~shifted) !== 0) Atomics.and(words, line + FLAGS, ~mask | shifted);
  if ((shifted & ~before) !== 0) Atomics.or(words, line + FLAGS, shifted);
}

/** The window scale that a segment's options ask for, -1 without one. Reads `bytes[from, to)`. */
function windowScale(bytes: Uint8Array, from: number, to: number): number {
  for (let at = from; at < to && bytes[at] !== OPTION_END;) {
    if (bytes[at] === OPTION_NOP) {
      at++;
      continue;
    }
    const length = at + 1 < to ? bytes[at + 1] : 0;
    if (length < 2 || at + length > to) return NO_SCALE;
    if (bytes[at] === OPTION_SCALE && length === 3) return Math.min(MAX_SCALE, bytes[at + 2]);
    at += length;
  }
  return NO_SCALE;
}

/** {@link windowScale} of the TCP header at `transport`. */
export function windowScaleAt(bytes: Uint8Array, transport: number): number {
  return windowScale(bytes, transport + TCP_BYTES, transport + (bytes[transport + TCP_DATA_OFFSET] >> 4) * 4);
}

/** A connection that begins again knows nothing of its windows. */
export function forgetWindows(words: Int32Array, connection: number): void {
  const known = FLAG_SEEN | FLAG_TOLD | FLAG_LIBERAL | (SCALE_BITS << SCALE_SHIFT);
  Atomics.and(words, connection + FLAGS, ~known);
  Atomics.and(words, connection + LINE_WORDS + FLAGS, ~known);
}
