import { F_SETPIPE_SZ, SOCK_CLOEXEC, SOCK_NONBLOCK } from "./libc.ts";
import type { EpollLoop } from "./loop.ts";

/** What a pipe holds at most: the bound that Linux gives users by default. */
export const PIPE_BYTES: number = 1 << 20;
/** Pipes that are kept for later. */
const KEPT = 16;

/** A pipe through which bytes go from a socket to another without being seen. */
export interface Pipe {
  readonly reader: number;
  readonly writer: number;
}

/** Pipes of one loop. Making one is dear, so some are kept. */
export class Pipes {
  readonly #loop: EpollLoop;
  readonly #kept: Pipe[] = [];

  constructor(loop: EpollLoop) {
    this.#loop = loop;
    loop.onRest = () => this.#kept.splice(0).forEach((pipe) => this.#close(pipe));
  }

  /** Undefined where there are no descriptors left. */
  take(): Pipe | undefined {
    return this.#kept.pop() ?? this.#make();
  }

  /** Whoever gives back a pipe with bytes inside must say so: they are another connection's. */
  give(pipe: Pipe, isEmpty: boolean): void {
    if (isEmpty && this.#kept.length < KEPT) this.#kept.push(pipe);
    else this.#close(pipe);
  }

  #make(): Pipe | undefined {
    const { libc, option, descriptors } = this.#loop;
    if (libc.pipe2(option.address, SOCK_CLOEXEC | SOCK_NONBLOCK) < 0) return undefined;
    const pipe = { reader: descriptors.take(option.words[0]), writer: descriptors.take(option.words[1]) };
    // Where the user has no pages left for it, it stays as it is.
    libc.fcntl(pipe.writer, F_SETPIPE_SZ, PIPE_BYTES);
    return pipe;
  }

  #close({ reader, writer }: Pipe): void {
    this.#loop.close(reader);
    this.#loop.close(writer);
  }
}
