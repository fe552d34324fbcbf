import { closeSync } from "node:fs";
import type { Libc } from "./libc.ts";

/** Descriptors below this are noted. */
const MOST = 2 ** 20;

/**
 * The descriptors that a thread has open. Unlike those of Node.js they outlive their thread when it dies, so each is noted in memory that another thread
 * sees. There is a byte for each, written by the owner alone; who opens for another thread writes it before that knows of it.
 *
 * A thread that is ended between opening a descriptor and noting it loses that one; the note goes before the descriptor is closed, so that nobody
 * closes one that has become another's.
 */
export class Descriptors {
  readonly #libc: Libc;
  readonly #opened: Uint8Array | undefined;

  constructor(libc: Libc, opened: Uint8Array | undefined) {
    this.#libc = libc;
    this.#opened = opened;
  }

  /** Note what a call has returned: a descriptor, or -1. */
  take(fd: number): number {
    if (fd >= 0 && this.#opened !== undefined) this.#opened[fd] = 1;
    return fd;
  }

  close(fd: number): void {
    if (this.#opened !== undefined) this.#opened[fd] = 0;
    this.#libc.close(fd);
  }

  /** Memory for the descriptors of one thread. */
  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(MOST);
  }

  /** Close what a thread has left open; it has ended. */
  static closeAll(memory: SharedArrayBuffer): void {
    const opened = new Uint8Array(memory);
    for (let fd = opened.indexOf(1); fd >= 0; fd = opened.indexOf(1, fd + 1)) {
      opened[fd] = 0;
      closeSync(fd);
    }
  }
}
