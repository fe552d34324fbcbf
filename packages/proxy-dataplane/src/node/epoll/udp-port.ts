import type { Endpoint, UdpOptions, UdpOwner, UdpPort } from "../../relay/engine.ts";
import { DataplaneError } from "../../errors.ts";
import { BATCH, type Datagrams } from "./datagrams.ts";
import { EPOLLIN, Errno, IPPROTO_IPV6, IPV6_V6ONLY, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from "./libc.ts";
import type { EpollLoop, Watcher } from "./loop.ts";
import { setOption } from "./options.ts";
import { FAMILIES, readSockaddr, SOCKADDR_BYTES, writeSockaddr } from "./sockaddr.ts";
import { errnoName } from "./socket.ts";

const DATAGRAMS = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
/** Batches that are taken before it is the others' turn. */
const BATCHES = 4;

/** A UDP socket of the engine. */
export class EpollUdpPort implements UdpPort, Watcher {
  fd: number;
  generation = 0;
  isQueued = false;
  readonly local: Endpoint;
  readonly #loop: EpollLoop;
  readonly #datagrams: Datagrams;
  readonly #owner: UdpOwner;

  constructor(
    loop: EpollLoop,
    datagrams: Datagrams,
    options: UdpOptions,
    owner: UdpOwner,
    onBound: ((port: UdpPort) => void) | undefined,
  ) {
    this.#loop = loop;
    this.#datagrams = datagrams;
    this.#owner = owner;
    const { libc, name, option } = loop;
    this.fd = loop.descriptors.take(options.fd ?? libc.socket(FAMILIES[options.endpoint.family], DATAGRAMS, 0));
    if (this.fd < 0) throw udpError(libc.errno());
    if (options.fd === undefined) this.#bind(options.endpoint);
    if (options.connectTo !== undefined) {
      this.#call(libc.connect(this.fd, name.address, writeSockaddr(name.bytes, 0, options.connectTo)));
    }
    option.words[0] = SOCKADDR_BYTES;
    this.#call(libc.getsockname(this.fd, name.address, option.address));
    this.local = readSockaddr(name.bytes, 0, option.words[0]);
    this.#call(loop.watch(this, EPOLLIN) ? 0 : -1);
    if (onBound !== undefined) loop.post(() => this.fd >= 0 && onBound(this));
  }

  send(bytes: Uint8Array, from: number, to: number, peer?: Endpoint): void {
    if (this.fd >= 0) this.#datagrams.send(this.fd, bytes, from, to, peer);
  }

  close(): void {
    if (this.fd < 0) return;
    this.#datagrams.flush();
    // Another thread may have the same socket open, and epoll would go on telling of it.
    this.#loop.ignore(this);
    this.#loop.close(this.fd);
    this.fd = -1;
  }

  onReady(): void {
    for (let batch = 0; batch < BATCHES && this.fd >= 0; batch++) {
      const count = this.#datagrams.receive(this.fd);
      if (count < 0 && !this.#hasRefused()) return;
      for (let at = 0; at < count && this.fd >= 0; at++) this.#take(at);
      if (count < BATCH) return;
    }
  }

  #bind(endpoint: Endpoint): void {
    const { libc, name } = this.#loop;
    if (endpoint.family === 6) setOption(this.#loop, this.fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    this.#call(libc.bind(this.fd, name.address, writeSockaddr(name.bytes, 0, endpoint)));
  }

  #take(at: number): void {
    const { input } = this.#datagrams;
    const from = input.bytesAt(at);
    const peer = readSockaddr(input.names, input.nameAt(at), input.nameLength(at));
    this.#owner.onDatagram(this, input.bytes, from, from + input.length(at), peer);
  }

  /** A destination has refused a datagram that was sent before. False: there is just nothing to receive. */
  #hasRefused(): boolean {
    const errno = this.#loop.libc.errno();
    if (errno === Errno.EAGAIN) return false;
    if (errno !== Errno.EINTR) this.#owner.onUdpError(this, errnoName(errno));
    return true;
  }

  #call(status: number): void {
    if (status >= 0) return;
    const errno = this.#loop.libc.errno();
    this.#loop.close(this.fd);
    this.fd = -1;
    throw udpError(errno);
  }
}

function udpError(errno: number): DataplaneError {
  return new DataplaneError("RELAY_LISTEN", `cannot open a UDP socket: ${errnoName(errno)}`);
}
