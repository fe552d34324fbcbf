import type { Endpoint } from "../../relay/engine.ts";
import { Arena, type Piece } from "./arena.ts";
import { Errno, MSG_DONTWAIT, MSG_NOSIGNAL } from "./libc.ts";
import type { EpollLoop } from "./loop.ts";
import { SOCKADDR_BYTES, writeSockaddr } from "./sockaddr.ts";

/** Datagrams that go through the kernel in one call. */
export const BATCH = 64;
/** The longest datagram, and a cache line: buffers that lie a power of two apart would fight for the same lines of the cache. */
export const DATAGRAM_BYTES = 65_536;
const STRIDE_BYTES = DATAGRAM_BYTES + 64;
/** `struct mmsghdr` of 64-bit Linux: a msghdr of 56 bytes, and the length that was moved. */
const HEADER_WORDS = 16;
const HeaderWord = { Name: 0, NameLength: 2, Vector: 4, VectorLength: 6, Length: 14 } as const;
/** `struct iovec`: address and length. */
const VECTOR_WORDS = 4;
const NAME_BYTES = 128;

/**
 * Headers and bytes of a batch of datagrams, as recvmmsg(2) and sendmmsg(2) want them:
 *
 *     headers   ┌ name, iovec, length ┐ × 64
 *                   │      │
 *     names     ◀───┘      └──▶ vectors ──▶ bytes, 64 KiB each
 */
export class DatagramBatch {
  static readonly arenaBytes: number = BATCH * (HEADER_WORDS * 4 + VECTOR_WORDS * 4 + NAME_BYTES + STRIDE_BYTES);
  readonly bytes: Uint8Array;
  readonly names: Uint8Array;
  readonly #headers: Piece;
  readonly #vectors: Piece;

  constructor(arena: Arena) {
    this.#headers = arena.piece(BATCH * HEADER_WORDS * 4);
    this.#vectors = arena.piece(BATCH * VECTOR_WORDS * 4);
    const names = arena.piece(BATCH * NAME_BYTES);
    const bytes = arena.piece(BATCH * STRIDE_BYTES);
    this.names = names.bytes;
    this.bytes = bytes.bytes;
    for (let at = 0; at < BATCH; at++) {
      const header = at * HEADER_WORDS;
      const vector = at * VECTOR_WORDS;
      putAddress(this.#headers.words, header + HeaderWord.Name, names.address + at * NAME_BYTES);
      putAddress(this.#headers.words, header + HeaderWord.Vector, this.#vectors.address + vector * 4);
      this.#headers.words[header + HeaderWord.VectorLength] = 1;
      putAddress(this.#vectors.words, vector, bytes.address + at * STRIDE_BYTES);
    }
  }

  /** Where the bytes of a datagram lie in `bytes`, and its name in `names`. */
  bytesAt(at: number): number {
    return at * STRIDE_BYTES;
  }

  nameAt(at: number): number {
    return at * NAME_BYTES;
  }

  /** Ready a place: to receive, or to send `length` bytes to a name of `nameLength` bytes; 0: where the socket is connected to. */
  prepare(at: number, length: number, nameLength: number): void {
    this.#headers.words[at * HEADER_WORDS + HeaderWord.NameLength] = nameLength;
    this.#vectors.words[at * VECTOR_WORDS + 2] = length;
  }

  /** Header of a place, for a call that begins there. */
  headerAt(at: number): number {
    return this.#headers.address + at * HEADER_WORDS * 4;
  }

  length(at: number): number {
    return this.#headers.words[at * HEADER_WORDS + HeaderWord.Length];
  }

  nameLength(at: number): number {
    return this.#headers.words[at * HEADER_WORDS + HeaderWord.NameLength];
  }
}

function putAddress(words: Int32Array, at: number, address: number): void {
  words[at] = address | 0;
  words[at + 1] = Math.floor(address / 2 ** 32);
}

/** What all UDP sockets of a loop receive into and send from. */
export class Datagrams {
  readonly input: DatagramBatch;
  readonly #loop: EpollLoop;
  readonly #output: DatagramBatch;
  readonly #flush = (): void => this.flush();
  #fd = -1;
  #count = 0;

  constructor(loop: EpollLoop) {
    this.#loop = loop;
    const arena = new Arena(loop.libc, 2 * DatagramBatch.arenaBytes);
    this.input = new DatagramBatch(arena);
    this.#output = new DatagramBatch(arena);
  }

  /** Receive a batch. Returns how many datagrams, or -1 and `errno`. */
  receive(fd: number): number {
    for (let at = 0; at < BATCH; at++) this.input.prepare(at, DATAGRAM_BYTES, SOCKADDR_BYTES);
    return this.#loop.libc.recvmmsg(fd, this.input.headerAt(0), BATCH, MSG_DONTWAIT, 0);
  }

  /** Send a datagram with others of the same socket, before the loop waits again. */
  send(fd: number, bytes: Uint8Array, from: number, to: number, peer: Endpoint | undefined): void {
    if (to - from > DATAGRAM_BYTES) return;
    if (this.#fd !== fd || this.#count === BATCH) this.flush();
    const output = this.#output;
    const at = this.#count;
    const nameLength = peer === undefined ? 0 : writeSockaddr(output.names, output.nameAt(at), peer);
    if (peer !== undefined && nameLength === 0) return;
    output.bytes.set(bytes.subarray(from, to), output.bytesAt(at));
    output.prepare(at, to - from, nameLength);
    this.#fd = fd;
    if (this.#count++ === 0) this.#loop.post(this.#flush);
  }

  /** Send what was put aside. What the kernel has no room for is dropped, as a network does; what it refuses too. */
  flush(): void {
    const { libc } = this.#loop;
    const count = this.#count;
    this.#count = 0;
    for (let at = 0; at < count;) {
      const sent = libc.sendmmsg(this.#fd, this.#output.headerAt(at), count - at, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) at += sent;
      else {
        const errno = libc.errno();
        if (errno === Errno.EAGAIN || errno === Errno.ENOBUFS) return;
        if (errno !== Errno.EINTR) at++;
      }
    }
  }
}
