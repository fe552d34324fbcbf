import { getSystemErrorName } from "node:util";
import type { Endpoint, RelaySocket, SocketOwner } from "../../relay/engine.ts";
import { DESTROY_MS, NOBODY } from "../closing.ts";
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  Errno,
  IPPROTO_TCP,
  MSG_NOSIGNAL,
  SHUT_WR,
  SO_ERROR,
  SO_LINGER,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  TCP_NODELAY,
} from "./libc.ts";
import { OUTPUT_BYTES, type EpollLoop, type Watcher } from "./loop.ts";
import { setOption } from "./options.ts";
import { readSockaddr, SOCKADDR_BYTES } from "./sockaddr.ts";

/** Largest piece that an owner is given, so that a whole handshake fits into what an owner keeps. */
const HANDSHAKE_BYTES = 16 * 1024;
/** Pieces that one socket may deliver before it is the others' turn. */
const PIECES = 4;
/** Every event of a stream socket, by edges. */
export const SOCKET_EVENTS: number = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
export const STREAM: number = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

/** Fits into one packet on every path: Nagle's algorithm, which holds back what follows packets under way, has nothing to hold back. */
const PACKET_BYTES = 1200;

/** Nagle's algorithm on a socket. Listeners have it off, and what they accept too. */
const Nagle = { Off: 0, Unused: 1, On: 2 } as const;
type Nagle = (typeof Nagle)[keyof typeof Nagle];

/** Takes what happens to a socket in place of its owner, while two are joined. */
export interface SocketTunnel {
  /** The socket can be read or written. */
  onReady(socket: EpollSocket): void;
  /** The socket's `error` is set. */
  onBroken(socket: EpollSocket): void;
}

/** What could not be sent at once. The kernel is given the address, which holds for as long as the bytes are referred to. */
interface Unsent {
  bytes: Uint8Array<ArrayBuffer>;
  address: number;
  from: number;
  to: number;
}

/**
 * A stream socket, watched by edges: `canRead` and `canWrite` say what the kernel said last, until a call says otherwise.
 */
export class EpollSocket implements RelaySocket, Watcher {
  owner: SocketOwner = NOBODY;
  tunnel: SocketTunnel | undefined = undefined;
  fd: number;
  generation = 0;
  isQueued = false;
  canRead = false;
  canWrite: boolean;
  /** A short piece does not say that nothing is left: read until a call does, for no event will tell again. */
  readsToEnd: boolean;
  /** The peer's end follows the bytes that are there. */
  endFollows = false;
  /** The peer's end has been read. */
  hasEnded = false;
  /** An errno's name, once a call has failed. */
  error = "";
  /** Takes the first events of an accepted socket, which come at once. */
  onFirst: ((socket: EpollSocket) => void) | undefined = undefined;
  readonly loop: EpollLoop;
  #isConnecting: boolean;
  /** Pieces end before the bytes do: at urgent ones, or where a Unix socket brings descriptors. */
  #stopsShort: boolean;
  /** How Nagle's algorithm is switched off: it is already, or will be before the second packet, which spares some the call. */
  #nagle: Nagle;
  #isPaused = true;
  #isEnding = false;
  #isShut = false;
  #isClosing = false;
  #unsent: Unsent | undefined = undefined;
  #local: Endpoint | undefined;
  #remote: Endpoint;

  constructor(loop: EpollLoop, fd: number, remote: Endpoint, local: Endpoint | undefined, isConnecting: boolean) {
    this.loop = loop;
    this.fd = fd;
    this.#remote = remote;
    this.#local = local;
    this.#isConnecting = isConnecting;
    this.canWrite = !isConnecting;
    this.readsToEnd = this.#stopsShort = remote.family === 0;
    this.#nagle = isConnecting && remote.family !== 0 ? Nagle.Unused : Nagle.Off;
  }

  get local(): Endpoint {
    return (this.#local ??= this.#askLocal());
  }

  get remote(): Endpoint {
    return this.#remote;
  }

  /** Something waits to be sent. */
  get hasUnsent(): boolean {
    return this.#unsent !== undefined;
  }

  resume(): void {
    this.#isPaused = false;
    if (this.canRead) this.loop.queue(this);
  }

  pause(): void {
    this.#isPaused = true;
  }

  write(bytes: Uint8Array, from: number, to: number): boolean {
    if (this.fd < 0) return true;
    let at = from;
    while (at < to && this.canWrite && this.#unsent === undefined) {
      const count = Math.min(to - at, OUTPUT_BYTES);
      this.loop.output.bytes.set(bytes.subarray(at, at + count));
      const sent = this.send(this.loop.output.address, count);
      if (sent < 0) {
        this.failSoon(this.error);
        return true;
      }
      at += sent;
    }
    if (at < to) this.keep(bytes, at, to);
    return at === to;
  }

  end(): void {
    if (this.fd < 0 || this.#isEnding) return;
    this.#isEnding = true;
    if (this.#isConnecting || this.#unsent !== undefined) return;
    this.#shut();
    if (this.hasEnded) this.loop.post(() => this.#finish());
  }

  reset(): void {
    this.#leave();
    if (this.fd < 0) return;
    const { words, address } = this.loop.option;
    words[0] = 1;
    words[1] = 0;
    if (!this.#isConnecting) this.loop.libc.setsockopt(this.fd, SOL_SOCKET, SO_LINGER, address, 8);
    this.close();
  }

  destroy(): void {
    this.#leave();
    if (this.fd < 0) return;
    if (this.#unsent === undefined || this.#isConnecting) {
      this.close();
      return;
    }
    this.#isClosing = true;
    this.loop.after(DESTROY_MS, () => this.close());
  }

  // What the engine calls.

  onReady(events: number): void {
    if (this.fd < 0) return;
    if (this.#isConnecting) {
      if (events !== 0) this.#connected(events);
      return;
    }
    this.#notice(events);
    if (this.onFirst !== undefined) return this.#announce();
    if ((events & EPOLLERR) !== 0 && this.hasEnded) this.#askBroken();
    if (this.tunnel !== undefined) return this.tunnel.onReady(this);
    if (this.#unsent !== undefined && this.canWrite) this.#drain();
    if (this.fd >= 0) this.#deliver();
  }

  #notice(events: number): void {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) this.canRead = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) !== 0) this.canWrite = true;
    if ((events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) === 0) return;
    this.readsToEnd = true;
    if ((events & EPOLLPRI) !== 0) this.#stopsShort = true;
    this.endFollows = (events & (EPOLLRDHUP | EPOLLERR)) === EPOLLRDHUP && !this.#stopsShort;
  }

  #announce(): void {
    const { onFirst } = this;
    this.onFirst = undefined;
    onFirst?.(this);
  }

  /**
   * Receive into the loop's input.
   *
   * @returns how many bytes; 0: none are there now, or never again, then `hasEnded` or `error` is set
   */
  receive(most: number): number {
    for (;;) {
      const count = this.loop.libc.recv(this.fd, this.loop.input.address, most, 0);
      if (count > 0) {
        if (count < most && !this.readsToEnd) this.canRead = false;
        return count;
      }
      if (this.hasNone(count)) return 0;
    }
  }

  /** What a call says that has received no bytes, but 0 or -1. False: it was interrupted, and is to be made again. */
  hasNone(count: number): boolean {
    const errno = count < 0 ? this.loop.libc.errno() : 0;
    if (errno === Errno.EINTR) return false;
    this.canRead = false;
    if (errno === 0) this.hasEnded = true;
    else if (errno !== Errno.EAGAIN) this.error = errnoName(errno);
    return true;
  }

  /**
   * Send bytes of an arena.
   *
   * @param flags - MSG_MORE: the own end is to go with them; `end` follows where all are taken
   * @returns how many were taken; -1: the connection is broken, `error` is set
   */
  send(address: number, count: number, flags = 0): number {
    if (this.#nagle !== Nagle.Off) this.#haste(count);
    for (;;) {
      const sent = this.loop.libc.send(this.fd, address, count, MSG_NOSIGNAL | flags);
      if (sent === count) return count;
      if (sent >= 0) {
        this.canWrite = false;
        return sent;
      }
      const state = this.#refused();
      if (state <= 0) return state;
    }
  }

  /** Send up to `count` bytes of a pipe that has as many; returns as `send` does. */
  sendPiped(reader: number, count: number): number {
    if (this.#nagle !== Nagle.Off) this.#haste(count);
    for (;;) {
      const sent = this.loop.libc.splice(reader, 0, this.fd, 0, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (sent > 0) return sent;
      const state = this.#refused();
      if (state <= 0) return state;
    }
  }

  /** Nothing may wait for what was sent before. */
  #haste(count: number): void {
    if (this.#nagle === Nagle.Unused && count <= PACKET_BYTES) {
      this.#nagle = Nagle.On;
      return;
    }
    this.#nagle = Nagle.Off;
    setOption(this.loop, this.fd, IPPROTO_TCP, TCP_NODELAY, 1);
  }

  /** Why nothing was sent: 1, an interruption; 0, there is no room; -1, the connection is broken. */
  #refused(): -1 | 0 | 1 {
    const errno = this.loop.libc.errno();
    if (errno === Errno.EINTR) return 1;
    this.canWrite = false;
    if (errno === Errno.EAGAIN) return 0;
    this.error = errnoName(errno);
    return -1;
  }

  /** Copy what could not be sent. */
  keep(bytes: Uint8Array, from: number, to: number): void {
    const old = this.#unsent;
    const kept = old === undefined ? 0 : old.to - old.from;
    const joined = new Uint8Array(new ArrayBuffer(kept + to - from));
    if (old !== undefined) joined.set(old.bytes.subarray(old.from, old.to));
    joined.set(bytes.subarray(from, to), kept);
    this.#unsent = { bytes: joined, address: this.loop.libc.addressOf(joined.buffer), from: 0, to: joined.length };
  }

  /** Send what was kept. Returns whether all of it is sent; where not, the connection may be broken, then `error` is set. */
  flush(): boolean {
    const unsent = this.#unsent;
    if (unsent === undefined) return true;
    const sent = this.send(unsent.address + unsent.from, unsent.to - unsent.from);
    if (sent < 0) return false;
    unsent.from += sent;
    if (unsent.from < unsent.to) return false;
    this.#unsent = undefined;
    if (this.#isEnding) this.#shut();
    return true;
  }

  /** Close, and tell nobody. */
  close(): void {
    if (this.fd < 0) return;
    const { fd } = this;
    this.fd = -1;
    this.#unsent = undefined;
    this.loop.close(fd);
  }

  /** The connection could not be made, or is broken. */
  fail(error: string): void {
    if (this.fd < 0 && !this.#isConnecting) return;
    const { owner } = this;
    this.#isConnecting = false;
    this.#leave();
    this.close();
    owner.onClose(this, error);
  }

  /** The same, from the loop. */
  failSoon(error: string): void {
    this.error = error;
    this.loop.post(() => (this.tunnel === undefined ? this.fail(error) : this.tunnel.onBroken(this)));
  }

  #leave(): void {
    this.owner = NOBODY;
    this.tunnel = undefined;
  }

  /** An outgoing connection is made, or has failed. */
  #connected(events: number): void {
    const errno = (events & (EPOLLERR | EPOLLHUP)) === 0 ? 0 : this.#askError();
    if (errno !== 0) return this.fail(errnoName(errno));
    this.#notice(events);
    this.connected();
  }

  /** An outgoing connection is made. */
  connected(): void {
    this.#isConnecting = false;
    this.canWrite = true;
    if (this.#unsent !== undefined) this.#drain();
    else if (this.#isEnding) this.#shut();
    this.owner.onConnect(this);
  }

  #drain(): void {
    if (this.flush()) {
      if (this.#isClosing) return this.close();
      if (this.#isShut && this.hasEnded) return this.#finish();
      return this.owner.onDrain(this);
    }
    if (this.error !== "") this.fail(this.error);
  }

  #deliver(): void {
    for (let pieces = 0; this.#takesBytes(); pieces++) {
      if (pieces === PIECES) return this.loop.queue(this);
      const count = this.receive(HANDSHAKE_BYTES);
      if (count > 0) this.owner.onData(this, this.loop.input.bytes, 0, count);
      else if (this.error !== "") return this.fail(this.error);
      else if (this.hasEnded) return this.#ended();
    }
  }

  #takesBytes(): boolean {
    return this.canRead && !this.#isPaused && this.tunnel === undefined && this.fd >= 0 && !this.#isClosing;
  }

  #ended(): void {
    const { owner } = this;
    owner.onEnd(this);
    if (this.#isShut) this.#finish();
  }

  /** Both directions have ended. */
  #finish(): void {
    if (this.fd >= 0) this.fail("");
  }

  #shut(): void {
    this.#isShut = true;
    this.loop.libc.shutdown(this.fd, SHUT_WR);
  }

  /** A reset behind the peer's end: nobody reads any more, so nobody would find out before writing. */
  #askBroken(): void {
    const errno = this.#askError();
    if (errno === 0) return;
    this.error = errnoName(errno);
    if (this.tunnel === undefined) this.fail(this.error);
    else this.tunnel.onBroken(this);
  }

  #askError(): number {
    const { words, address } = this.loop.option;
    words[0] = 0;
    words[1] = 4;
    const status = this.loop.libc.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, address, address + 4);
    return status < 0 ? this.loop.libc.errno() : words[0];
  }

  #askLocal(): Endpoint {
    const { bytes, address } = this.loop.name;
    const { words, address: length } = this.loop.option;
    words[0] = SOCKADDR_BYTES;
    if (this.loop.libc.getsockname(this.fd, address, length) < 0) return { family: 4, host: "0.0.0.0", port: 0 };
    return readSockaddr(bytes, 0, words[0]);
  }
}

/** `ECONNRESET` for 104. */
export function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}
