import { Socket } from "node:net";
import type { Endpoint, RelaySocket, SocketOwner } from "../relay/engine.ts";
import { DESTROY_MS, NOBODY } from "./closing.ts";
import { handleOf } from "./internals.ts";
import type { ReadBuffers } from "./read-buffers.ts";

/** The handle behind a socket of Node.js, as far as this engine looks at it. */
interface StreamHandle {
  readonly fd?: number;
  readonly writeQueueSize?: number;
  reset?(callback?: () => void): number;
}

/** Takes bytes in place of the owner, while two sockets are joined. */
export interface DirectReader {
  /** Returns whether the buffer may be read into again: false pauses the socket. */
  onRead(bytes: Uint8Array, count: number): boolean;
}

/** A socket of `node:net` that reads into buffers of its own, not into a new one for every chunk. */
export class NetSocket implements RelaySocket {
  owner: SocketOwner = NOBODY;
  /** Set while the socket is joined. */
  reader: DirectReader | undefined = undefined;
  /** A write of another socket still reads the buffer: it must not serve anybody else. */
  isLent = false;
  readonly canRead = false;
  readonly stream: Socket;
  readonly buffers: ReadBuffers;
  #buffer: Uint8Array | undefined = undefined;
  #isPaused = true;
  #fullReads = 0;
  #error = "";
  #local: Endpoint | undefined = undefined;
  #remote: Endpoint | undefined = undefined;
  #path: string;

  /** @param handle - of a connection that was accepted; undefined for an outgoing one */
  constructor(buffers: ReadBuffers, handle: unknown, path: string) {
    this.buffers = buffers;
    this.#path = path;
    const onread = {
      buffer: () => this.#nextBuffer(),
      callback: (count: number, bytes: Uint8Array) => this.#onRead(count, bytes),
    };
    const options = { handle, onread, allowHalfOpen: true, pauseOnCreate: true };
    this.stream = new Socket(options);
    this.stream.on("error", (error: NodeJS.ErrnoException) => (this.#error = error.code ?? "EIO"));
    this.stream.on("close", () => this.#onClose());
    this.stream.on("end", () => this.owner.onEnd(this));
    this.stream.on("drain", () => this.owner.onDrain(this));
  }

  /** Not known before it is connected. */
  get local(): Endpoint {
    if (this.stream.connecting) return { family: 0, host: "", port: 0 };
    return (this.#local ??= this.#endpoint(this.stream.localAddress, this.stream.localPort));
  }

  get remote(): Endpoint {
    return (this.#remote ??= this.#endpoint(this.stream.remoteAddress, this.stream.remotePort));
  }

  get fd(): number {
    return this.handle?.fd ?? -1;
  }

  get handle(): StreamHandle | undefined {
    return handleOf(this.stream) as StreamHandle | undefined;
  }

  /** Nothing that was written waits. */
  get isDrained(): boolean {
    return this.stream.writableLength === 0 && (this.handle?.writeQueueSize ?? 0) === 0;
  }

  resume(): void {
    this.#isPaused = false;
    this.stream.resume();
  }

  pause(): void {
    this.#isPaused = true;
    this.stream.pause();
  }

  write(bytes: Uint8Array, from: number, to: number): boolean {
    // The stream may keep what it gets, and the bytes are the caller's again.
    return this.stream.write(bytes.slice(from, to)) || this.stream.writableLength === 0;
  }

  end(): void {
    this.stream.end();
  }

  reset(): void {
    this.#leave();
    const { stream } = this;
    if (stream.destroyed) return;
    if (!stream.writableEnded || stream.writableFinished) return this.#resetNow();
    // While a shutdown is under way libuv refuses to reset, and Node.js takes the handle for closed: the descriptor would stay
    // open for ever, and a thread with such a handle never ends (seen with 20.20 and 24).
    stream.once("finish", () => this.#resetNow());
    const timer = setTimeout(() => stream.destroy(), DESTROY_MS);
    stream.once("close", () => clearTimeout(timer));
  }

  #resetNow(): void {
    const { stream } = this;
    // `resetAndDestroy` first waits until everything is sent, which a peer that does not read prevents for ever.
    if (this.handle?.reset !== undefined && !stream.connecting) {
      (stream as unknown as { resetAndClosing: boolean }).resetAndClosing = true;
    }
    stream.destroy();
  }

  destroy(): void {
    this.#leave();
    if (this.stream.destroyed) return;
    if (this.stream.writableLength === 0 && !this.stream.writableEnded) {
      this.stream.destroy();
      return;
    }
    this.stream.end();
    this.stream.resume();
    this.stream.on("finish", () => this.stream.destroy());
    const timer = setTimeout(() => this.stream.destroy(), DESTROY_MS).unref();
    this.stream.on("close", () => clearTimeout(timer));
  }

  #leave(): void {
    this.owner = NOBODY;
    this.reader = undefined;
  }

  #onRead(count: number, bytes: Uint8Array): boolean {
    const { reader } = this;
    this.#fullReads = count === bytes.length ? this.#fullReads + 1 : 0;
    if (reader !== undefined) return reader.onRead(bytes, count);
    this.owner.onData(this, bytes, 0, count);
    return !this.#isPaused;
  }

  /** A larger buffer once it pays: the connection moves much at a time. */
  #nextBuffer(): Uint8Array {
    this.#buffer ??= this.buffers.take(0);
    if (this.#fullReads >= 2 && this.#buffer.length < this.buffers.largestBytes) {
      this.#giveBuffer();
      this.#buffer = this.buffers.take(this.buffers.largestBytes);
    }
    return this.#buffer;
  }

  #onClose(): void {
    this.#giveBuffer();
    const { owner } = this;
    this.#leave();
    owner.onClose(this, this.#error);
  }

  /** A buffer that is lent is left to the garbage collector. */
  #giveBuffer(): void {
    if (this.#buffer !== undefined && !this.isLent) this.buffers.give(this.#buffer);
    this.#buffer = undefined;
  }

  #endpoint(host: string | undefined, port: number | undefined): Endpoint {
    if (host === undefined) return { family: 0, host: this.#path, port: 0 };
    if (host.startsWith("::ffff:") && host.includes(".")) return { family: 4, host: host.slice(7), port: port ?? 0 };
    return { family: host.includes(":") ? 6 : 4, host, port: port ?? 0 };
  }
}
