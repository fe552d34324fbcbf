import type { SpinLocks } from "@x/smp";
import { adjustChecksum, replaceHalf } from "./checksum-patch.ts";
import { FLAG_SHIFTED, FLAGS, LINE_WORDS, SHIFT, SHIFT_WORDS } from "./connection-layout.ts";
import { TcpFlag } from "./protocols.ts";
import { word } from "./words.ts";

const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const TCP_BYTES = 20;
const SEQUENCE = 4;
const ACKNOWLEDGEMENT = 8;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_SACK = 5;
const BLOCK_BYTES = 8;

/**
 * Sequence numbers of TCP connections whose payload changed its length on the way, after Linux's nf_conntrack_seqadj.c: each direction
 * knows the last place where it changed, how many octets were added before that place and how many have been up to behind it. So an older
 * place than the one before the last is not told apart: a segment from there that comes again then leaves with a number that is
 * off by the last change. A segment that lost all its payload is acknowledged with what follows it, since its receiver never sees it.
 *
 * Thread-safety: the words of all connections are under one lock; only packets of connections that were changed take it.
 */
export class SequenceShifts {
  readonly #words: Int32Array;
  readonly #lock: SpinLocks;

  constructor(words: Int32Array, lock: SpinLocks) {
    this.#words = words;
    this.#lock = lock;
  }

  /**
   * The payload of the segment that begins at `sequence`, in the direction of `value`, has become `delta` octets longer. A segment that
   * comes again is changed again and counted once. Returns whether it was counted; then {@link SequenceShifts.addMore} counts further changes of
   * the same segment.
   */
  add(value: number, sequence: number, delta: number): boolean {
    const words = this.#words;
    const w = value >> 2;
    const at = shiftOf(value);
    this.#lock.lock();
    const isNew = words[at + 1] === words[at + 2] || ((words[at] - sequence) | 0) < 0;
    if (isNew) {
      words[at] = sequence;
      words[at + 1] = words[at + 2];
      words[at + 2] += delta;
    }
    this.#lock.unlock();
    Atomics.or(words, w + FLAGS, FLAG_SHIFTED);
    Atomics.or(words, w + LINE_WORDS + FLAGS, FLAG_SHIFTED);
    return isNew;
  }

  addMore(value: number, delta: number): void {
    this.#lock.lock();
    this.#words[shiftOf(value) + 2] += delta;
    this.#lock.unlock();
  }

  /** A sequence number of the direction of `value`, as its sender says it, as its receiver must hear it. */
  applied(value: number, sequence: number): number {
    const words = this.#words;
    const at = shiftOf(value);
    this.#lock.lock();
    const shift = ((sequence - words[at]) | 0) > 0 ? words[at + 2] : words[at + 1];
    this.#lock.unlock();
    return (sequence + shift) | 0;
  }

  /** A number of the direction of `value`, as its receiver has heard it or acknowledges it, as its sender said it. */
  undone(value: number, number: number): number {
    const words = this.#words;
    const at = shiftOf(value);
    this.#lock.lock();
    const before = words[at + 1];
    const shift = ((number - before - words[at]) | 0) > 0 ? words[at + 2] : before;
    this.#lock.unlock();
    return (number - shift) | 0;
  }

  /** The connection at word `w` begins anew. */
  forget(w: number): void {
    const words = this.#words;
    if ((words[w + FLAGS] & FLAG_SHIFTED) === 0) return;
    Atomics.and(words, w + FLAGS, ~FLAG_SHIFTED);
    Atomics.and(words, w + LINE_WORDS + FLAGS, ~FLAG_SHIFTED);
    this.#lock.lock();
    words.fill(0, w + SHIFT, w + SHIFT + 2 * SHIFT_WORDS);
    this.#lock.unlock();
  }

  /**
   * Gives the segment at `transport`, of the direction of `value`, the numbers its receiver knows: sequence, acknowledgement and the blocks of
   * selective acknowledgements (RFC 2018), and the checksum. Reads and writes nothing from `end` on.
   */
  rewrite(bytes: Uint8Array, transport: number, end: number, value: number): void {
    const sequence = this.applied(value, word(bytes, transport + SEQUENCE));
    let change = replaceAt(bytes, transport, SEQUENCE, sequence);
    if ((bytes[transport + TCP_FLAGS] & TcpFlag.Ack) !== 0) {
      const acknowledged = this.undone(value ^ 1, word(bytes, transport + ACKNOWLEDGEMENT));
      change += replaceAt(bytes, transport, ACKNOWLEDGEMENT, acknowledged);
      change += this.#rewriteBlocks(
        bytes,
        transport,
        Math.min(end, transport + (bytes[transport + 12] >> 4) * 4),
        value ^ 1,
      );
    }
    if (change !== 0) adjustChecksum(bytes, transport + TCP_CHECKSUM, change);
  }

  #rewriteBlocks(bytes: Uint8Array, transport: number, end: number, value: number): number {
    let change = 0;
    for (let at = transport + TCP_BYTES; at < end && bytes[at] !== OPTION_END;) {
      if (bytes[at] === OPTION_NOP) {
        at++;
        continue;
      }
      const length = at + 1 < end ? bytes[at + 1] : 0;
      if (length < 2 || at + length > end) break;
      if (bytes[at] === OPTION_SACK) {
        for (let edge = at + 2; edge + 4 <= at + 2 + Math.floor((length - 2) / BLOCK_BYTES) * BLOCK_BYTES; edge += 4) {
          change += replaceAt(bytes, transport, edge - transport, this.undone(value, word(bytes, edge)));
        }
      }
      at += length;
    }
    return change;
  }
}

function shiftOf(value: number): number {
  return (value >> 2) + SHIFT + (value & 1) * SHIFT_WORDS;
}

/** Stores a word `at` bytes behind the beginning of what the checksum covers; returns what that adds to a sum. */
function replaceAt(bytes: Uint8Array, begin: number, at: number, value: number): number {
  const isOdd = (at & 1) !== 0;
  return (
    replaceHalf(bytes, begin + at, value >>> 16, isOdd) + replaceHalf(bytes, begin + at + 2, value & 0xffff, isOdd)
  );
}
