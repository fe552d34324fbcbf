import { unlinkSync } from "node:fs";
import type { Endpoint } from "../../relay/engine.ts";
import { listenError, removeStale, type BoundSocket, type ListeningSockets } from "../bound-socket.ts";
import { Arena, type Piece } from "./arena.ts";
import { Descriptors } from "./descriptors.ts";
import {
  F_DUPFD_CLOEXEC,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  type Libc,
} from "./libc.ts";
import { FAMILIES, readSockaddr, SOCKADDR_BYTES, writeSockaddr } from "./sockaddr.ts";
import { errnoName } from "./socket.ts";

/**
 * Listening sockets for the epoll engine: one for each worker on the same address (SO_REUSEPORT, socket(7)), among which the kernel spreads
 * connections, so that workers share no queue. The main thread keeps them: what waits in the queue of a worker that dies is its successor's, and
 * a client's datagrams go to the same worker for as long as the listener is there.
 */
export class ReusePortSockets implements ListeningSockets {
  readonly #libc: Libc;
  readonly #workers: number;
  readonly #name: Piece;
  readonly #option: Piece;

  constructor(libc: Libc, workers: number) {
    this.#libc = libc;
    this.#workers = workers;
    const arena = new Arena(libc, 256);
    this.#name = arena.piece(SOCKADDR_BYTES);
    this.#option = arena.piece(64);
  }

  bind(endpoint: Endpoint): BoundSocket {
    if (endpoint.family !== 0) return this.#bindForEach(SOCK_STREAM, endpoint);
    removeStale(endpoint.host);
    return new SocketForEach(this.#libc, endpoint, [this.#open(SOCK_STREAM, endpoint, [])]);
  }

  bindDatagrams(endpoint: Endpoint): BoundSocket {
    return this.#bindForEach(SOCK_DGRAM, endpoint);
  }

  rest(): void {}

  #bindForEach(type: number, endpoint: Endpoint): BoundSocket {
    // Streams that have ended hold up the port for a while; datagrams of two that are open would go to one of them.
    const alone = type === SOCK_STREAM ? [SO_REUSEADDR] : [];
    const shared = [...alone, SO_REUSEPORT];
    // Another program's sockets that share the port too would take a part of the clients, and nobody would be told.
    if (endpoint.port !== 0) this.#libc.close(this.#open(type, endpoint, alone));
    const first = this.#open(type, endpoint, shared);
    const local = { ...endpoint, port: this.#portOf(first) };
    const fds = [first];
    try {
      while (fds.length < this.#workers) fds.push(this.#open(type, local, shared));
    } catch (error) {
      for (const fd of fds) this.#libc.close(fd);
      throw error;
    }
    return new SocketForEach(this.#libc, local, fds);
  }

  #open(type: number, endpoint: Endpoint, options: readonly number[]): number {
    const libc = this.#libc;
    const fd = libc.socket(FAMILIES[endpoint.family], type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) throw listenError(endpoint, errnoName(libc.errno()));
    this.#option.words[0] = 1;
    for (const option of options) libc.setsockopt(fd, SOL_SOCKET, option, this.#option.address, 4);
    // As in the other engine: `[::]` is IPv6 alone.
    if (endpoint.family === 6) libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, this.#option.address, 4);
    if (libc.bind(fd, this.#name.address, writeSockaddr(this.#name.bytes, 0, endpoint)) === 0) return fd;
    const errno = libc.errno();
    libc.close(fd);
    throw listenError(endpoint, errnoName(errno));
  }

  #portOf(fd: number): number {
    this.#option.words[0] = SOCKADDR_BYTES;
    this.#libc.getsockname(fd, this.#name.address, this.#option.address);
    return readSockaddr(this.#name.bytes, 0, this.#option.words[0]).port;
  }
}

/** A socket for each worker, or one for all. */
class SocketForEach implements BoundSocket {
  readonly local: Endpoint;
  readonly fds: readonly number[];
  readonly #libc: Libc;

  constructor(libc: Libc, local: Endpoint, fds: readonly number[]) {
    this.#libc = libc;
    this.local = local;
    this.fds = fds;
  }

  duplicate(worker: number, opened: SharedArrayBuffer): Promise<number> {
    const fd = this.#libc.fcntl(this.fds[(worker - 1) % this.fds.length], F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return Promise.reject(listenError(this.local, errnoName(this.#libc.errno())));
    return Promise.resolve(new Descriptors(this.#libc, new Uint8Array(opened)).take(fd));
  }

  close(): void {
    for (const fd of this.fds) this.#libc.close(fd);
    if (this.local.family !== 0) return;
    try {
      unlinkSync(this.local.host);
    } catch {
      // Somebody else has removed it.
    }
  }
}
