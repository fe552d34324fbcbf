import { createSocket, type RemoteInfo, type Socket as DgramSocket, type SocketOptions } from "node:dgram";
import { createServer, isIPv6, type AddressInfo, type Server } from "node:net";
import type {
  ConnectOptions,
  Endpoint,
  Engine,
  Listener,
  ListenerOwner,
  ListenOptions,
  RelaySocket,
  SocketOwner,
  Tunnel,
  TunnelOptions,
  TunnelOwner,
  UdpOptions,
  UdpOwner,
  UdpPort,
} from "../relay/engine.ts";
import { handleOf } from "./internals.ts";
import { NetSocket } from "./net-socket.ts";
import { NetTunnel } from "./net-tunnel.ts";
import { ReadBuffers } from "./read-buffers.ts";

const BACKLOG = 4096;

/**
 * The portable engine, over `node:net` and `node:dgram`. Each socket reads into a buffer of its own, which is written out of directly.
 *
 * @public
 */
export class NetEngine implements Engine {
  readonly name = "node";
  readonly #buffers = new ReadBuffers();

  nowMs(): number {
    return performance.now();
  }

  every(intervalMs: number, tick: () => void): Disposable {
    const timer = setInterval(tick, intervalMs);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  listen(options: ListenOptions, owner: ListenerOwner, onListening?: (listener: Listener) => void): Listener {
    return new NetListener(options, owner, this.#buffers, onListening);
  }

  connect(to: Endpoint, owner: SocketOwner, options?: ConnectOptions): RelaySocket {
    const socket = new NetSocket(this.#buffers, undefined, to.family === 0 ? to.host : "");
    socket.owner = owner;
    socket.stream.on("connect", () => socket.owner.onConnect(socket));
    socket.stream.setNoDelay(true);
    const { source } = options ?? {};
    if (to.family === 0) socket.stream.connect({ path: to.host });
    else {
      const own = source === undefined ? {} : { localAddress: source.host, localPort: source.port };
      socket.stream.connect({ host: to.host, port: to.port, family: to.family, ...own });
    }
    // A stream begins to read when it is connected; nobody may want that yet.
    socket.pause();
    return socket;
  }

  join(client: RelaySocket, server: RelaySocket, owner: TunnelOwner, options?: TunnelOptions): Tunnel {
    return new NetTunnel(client as NetSocket, server as NetSocket, owner, () => this.nowMs(), options);
  }

  udp(options: UdpOptions, owner: UdpOwner, onBound?: (port: UdpPort) => void): UdpPort {
    return new NetUdpPort(options, owner, onBound);
  }

  /** The loop is Node's own: whatever is under way is served. */
  hold(): void {}
  release(): void {}
}

/** Whether UDP ports can be shared (`reusePort` of `node:dgram`, since 22.12 and 23.1). */
export function sharesUdpPorts(version: string = process.versions.node, platform: string = process.platform): boolean {
  const [major, minor] = version.split(".").map(Number);
  return platform === "linux" && (major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12));
}

/** What a server's handle calls for every connection. */
type OnConnection = (status: number, handle: unknown) => void;

class NetListener implements Listener {
  local: Endpoint;
  readonly #server: Server;
  readonly #owner: ListenerOwner;
  readonly #buffers: ReadBuffers;

  constructor(
    options: ListenOptions,
    owner: ListenerOwner,
    buffers: ReadBuffers,
    onListening: ((listener: Listener) => void) | undefined,
  ) {
    const { endpoint, fd, backlog = BACKLOG } = options;
    this.local = endpoint;
    this.#owner = owner;
    this.#buffers = buffers;
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true });
    this.#server.on("error", (error: NodeJS.ErrnoException) => owner.onListenError(this, error.code ?? "EIO"));
    this.#server.on("listening", () => {
      const address = this.#server.address();
      if (address !== null && typeof address === "object") this.local = endpointOf(address);
      this.#takeHandles();
      onListening?.(this);
    });
    if (fd !== undefined) this.#server.listen({ fd, backlog });
    else if (endpoint.family === 0) this.#server.listen({ path: endpoint.host, backlog });
    else this.#server.listen({ host: endpoint.host, port: endpoint.port, backlog, ipv6Only: endpoint.family === 6 });
  }

  close(): void {
    this.#server.close();
  }

  /** Wrap connections once, with a buffer to read into, which those of a server do not get otherwise. */
  #takeHandles(): void {
    const handle = handleOf(this.#server) as { onconnection: OnConnection };
    handle.onconnection = (status, connection) => {
      // Without descriptors (EMFILE) libuv refuses the connection and waits.
      if (connection === undefined || status !== 0) return this.#owner.onListenError(this, "EMFILE");
      const socket = new NetSocket(this.#buffers, connection, "");
      socket.stream.setNoDelay(true);
      this.#owner.onAccept(this, socket);
    };
  }
}

/** In place of a name look-up, which answers later and is made for every datagram: here are only addresses. */
const addressAsIs: SocketOptions["lookup"] = (host, _options, callback) => callback(null, host, isIPv6(host) ? 6 : 4);

class NetUdpPort implements UdpPort {
  local: Endpoint;
  readonly #socket: DgramSocket;
  #isClosed = false;

  constructor(options: UdpOptions, owner: UdpOwner, onBound: ((port: UdpPort) => void) | undefined) {
    const { endpoint, connectTo } = options;
    this.local = endpoint;
    const { isShared } = options;
    const common: SocketOptions = { type: endpoint.family === 6 ? "udp6" : "udp4", lookup: addressAsIs };
    this.#socket = createSocket(isShared === true ? ({ ...common, reusePort: true } as SocketOptions) : common);
    this.#socket.on("error", (error: NodeJS.ErrnoException) => {
      // That of binding comes before the caller has the port.
      process.nextTick(() => !this.#isClosed && owner.onUdpError(this, error.code ?? "EIO"));
    });
    this.#socket.on("message", (bytes: Uint8Array, from: RemoteInfo) => {
      if (!this.#isClosed) owner.onDatagram(this, bytes, 0, bytes.length, endpointOf(from));
    });
    const bound = (): void => {
      if (!this.#isClosed) onBound?.(this);
    };
    this.#socket.on("listening", () => {
      this.local = endpointOf(this.#socket.address());
      if (connectTo === undefined) process.nextTick(bound);
      else this.#socket.connect(connectTo.port, connectTo.host, bound);
    });
    this.#socket.bind({ address: endpoint.host, port: endpoint.port });
  }

  send(bytes: Uint8Array, from: number, to: number, peer?: Endpoint): void {
    if (this.#isClosed) return;
    const copy = bytes.slice(from, to);
    const done = (): void => undefined; // What a network refuses is lost, as in a network.
    if (peer === undefined) this.#socket.send(copy, done);
    else this.#socket.send(copy, peer.port, peer.host, done);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }
}

function endpointOf({ address, port }: Pick<AddressInfo, "address" | "port">): Endpoint {
  if (address.startsWith("::ffff:") && address.includes(".")) return { family: 4, host: address.slice(7), port };
  return { family: address.includes(":") ? 6 : 4, host: address, port };
}
