import { rmSync } from "node:fs";
import type { Endpoint, Listener, ListenerOwner, ListenOptions } from "../../relay/engine.ts";
import {
  EPOLLEXCLUSIVE,
  EPOLLIN,
  Errno,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  TCP_NODELAY,
} from "./libc.ts";
import type { EpollLoop, Watcher } from "./loop.ts";
import { setOption } from "./options.ts";
import { FAMILIES, readSockaddr, SOCKADDR_BYTES, writeSockaddr } from "./sockaddr.ts";
import { EpollSocket, errnoName, SOCKET_EVENTS, STREAM } from "./socket.ts";

const BACKLOG = 4096;
/** Connections that are taken before it is the others' turn. */
const ACCEPTS = 64;
/** How long nothing is taken when there are no descriptors left; connections wait in the backlog. */
const REST_MS = 50;

/** A listening socket of the engine. */
export class EpollListener implements Listener, Watcher {
  fd: number;
  generation = 0;
  isQueued = false;
  local: Endpoint;
  readonly #loop: EpollLoop;
  readonly #owner: ListenerOwner;
  readonly #isTransparent: boolean;
  readonly #announce = (socket: EpollSocket): void => this.#owner.onAccept(this, socket);
  /** Where every connection has the listener's own end. */
  #isBoundToOne = false;
  /** Of a Unix socket that was made here. */
  #path = "";

  constructor(
    loop: EpollLoop,
    options: ListenOptions,
    owner: ListenerOwner,
    onListening: ((listener: Listener) => void) | undefined,
  ) {
    const { endpoint, backlog = BACKLOG } = options;
    this.#loop = loop;
    this.#owner = owner;
    this.local = endpoint;
    this.#isTransparent = options.isTransparent === true;
    const bound = options.fd ?? bindSocket(loop, endpoint);
    if (options.fd === undefined && endpoint.family === 0 && bound >= 0) this.#path = endpoint.host;
    this.fd = loop.descriptors.take(bound);
    const error = this.fd < 0 ? errnoName(-bound) : this.#start(backlog);
    loop.post(() => {
      if (error !== "") owner.onListenError(this, error);
      else if (this.fd >= 0) onListening?.(this);
    });
  }

  close(): void {
    if (this.fd < 0) return;
    // Another thread may have the same socket open, and epoll would go on telling of it.
    this.#loop.ignore(this);
    this.#loop.close(this.fd);
    this.fd = -1;
    if (this.#path !== "") rmSync(this.#path, { force: true });
  }

  onReady(): void {
    for (let taken = 0; taken < ACCEPTS && this.fd >= 0; taken++) if (!this.#accept()) return;
  }

  /** Take one. Returns whether there may be another. */
  #accept(): boolean {
    const { libc, name, option, descriptors } = this.#loop;
    option.words[0] = SOCKADDR_BYTES;
    const fd = descriptors.take(libc.accept4(this.fd, name.address, option.address, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd < 0) return this.#onRefused(libc.errno());
    const remote = readSockaddr(name.bytes, 0, option.words[0]);
    const socket = new EpollSocket(this.#loop, fd, remote, this.#isBoundToOne ? this.local : undefined, false);
    // The first events come at once and say whether the client has spoken.
    socket.onFirst = this.#announce;
    if (!this.#loop.watch(socket, SOCKET_EVENTS)) socket.close();
    return true;
  }

  #onRefused(errno: number): boolean {
    if (errno === Errno.EINTR || errno === Errno.ECONNABORTED) return true;
    if (errno === Errno.EAGAIN) return false;
    this.#rest();
    this.#owner.onListenError(this, errnoName(errno));
    return false;
  }

  /** Epoll would tell of what waits again and again. */
  #rest(): void {
    this.#loop.ignore(this);
    this.#loop.after(REST_MS, () => {
      if (this.fd >= 0 && !this.#watch()) this.#rest();
    });
  }

  #watch(): boolean {
    // One of several threads that share the socket is woken, not all.
    return this.#loop.watch(this, EPOLLIN | EPOLLEXCLUSIVE);
  }

  /** Returns an errno's name, or `""`. */
  #start(backlog: number): string {
    if (this.#loop.libc.listen(this.fd, backlog) === 0 && this.#watch()) {
      this.#askLocal();
      return "";
    }
    const error = errnoName(this.#loop.libc.errno());
    this.close();
    return error;
  }

  #askLocal(): void {
    const { libc, name, option } = this.#loop;
    option.words[0] = SOCKADDR_BYTES;
    if (libc.getsockname(this.fd, name.address, option.address) === 0) {
      this.local = readSockaddr(name.bytes, 0, option.words[0]);
    }
    const { family, host } = this.local;
    const isBoundToOne = family === 0 || (host !== "0.0.0.0" && host !== "::");
    this.#isBoundToOne = isBoundToOne && !this.#isTransparent;
    // Connections inherit it.
    if (family !== 0) setOption(this.#loop, this.fd, IPPROTO_TCP, TCP_NODELAY, 1);
  }
}

/** A bound socket, or an errno, negative. */
function bindSocket(loop: EpollLoop, endpoint: Endpoint): number {
  const { libc, name } = loop;
  const { family } = endpoint;
  const fd = libc.socket(FAMILIES[family], STREAM, 0);
  if (fd < 0) return -libc.errno();
  if (family !== 0) setOption(loop, fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family === 6) setOption(loop, fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (libc.bind(fd, name.address, writeSockaddr(name.bytes, 0, endpoint)) === 0) return fd;
  const errno = libc.errno();
  libc.close(fd);
  return -errno;
}
