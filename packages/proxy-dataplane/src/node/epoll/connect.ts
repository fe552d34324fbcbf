import type { ConnectOptions, Endpoint, SocketOwner } from "../../relay/engine.ts";
import {
  Errno,
  IP_BIND_ADDRESS_NO_PORT,
  IPPROTO_IP,
  IPPROTO_TCP,
  SO_REUSEADDR,
  SOL_SOCKET,
  TCP_QUICKACK,
} from "./libc.ts";
import type { EpollLoop } from "./loop.ts";
import { setOption } from "./options.ts";
import { FAMILIES, writeSockaddr } from "./sockaddr.ts";
import { EpollSocket, errnoName, SOCKET_EVENTS, STREAM } from "./socket.ts";

const NONE: ConnectOptions = {};

/** Begin to connect; the owner hears of success and failure from the loop. */
export function connectSocket(
  loop: EpollLoop,
  to: Endpoint,
  owner: SocketOwner,
  options: ConnectOptions | undefined,
): EpollSocket {
  const fd = loop.descriptors.take(loop.libc.socket(FAMILIES[to.family], STREAM, 0));
  const socket = new EpollSocket(loop, fd, to, undefined, true);
  socket.owner = owner;
  const errno = fd < 0 ? loop.libc.errno() : begin(loop, fd, to, options);
  if (errno === 0 || errno === Errno.EINPROGRESS) {
    if (!loop.watch(socket, SOCKET_EVENTS)) socket.failSoon(errnoName(loop.libc.errno()));
    // A Unix socket is connected at once, and its first event says so as any other's does.
  } else socket.failSoon(errnoName(errno));
  return socket;
}

/** Returns the error of the call that failed, or 0. */
function begin(loop: EpollLoop, fd: number, to: Endpoint, options: ConnectOptions | undefined): number {
  const { libc, name } = loop;
  const { source, speaksFirst = false } = options ?? NONE;
  // The packet that ends the handshake waits for the first bytes, which are there at once, and goes with them.
  if (speaksFirst && to.family !== 0) setOption(loop, fd, IPPROTO_TCP, TCP_QUICKACK, 0);
  if (source !== undefined) {
    // The port is chosen when the target is known, so that it may be the same for many.
    if (source.port === 0) setOption(loop, fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    else setOption(loop, fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (libc.bind(fd, name.address, writeSockaddr(name.bytes, 0, source)) < 0) return libc.errno();
  }
  return libc.connect(fd, name.address, writeSockaddr(name.bytes, 0, to)) < 0 ? libc.errno() : 0;
}
