/**
 * One end of a socket, or where to find it. `family` 0 is a Unix socket whose path is `host`; it has no port.
 *
 * @public
 */
export interface Endpoint {
  readonly family: 0 | 4 | 6;
  /** An address in text, never a name; a path for family 0. */
  readonly host: string;
  readonly port: number;
}

/**
 * Who is told what happens to a socket. Calls come from the engine's loop, never from inside a call to the socket, except
 * for `onClose`, which `reset` and `destroy` do not call at all.
 *
 * @public
 */
export interface SocketOwner {
  /** An outgoing socket is connected. */
  onConnect(socket: RelaySocket): void;
  /** Bytes `from` to `to` have arrived; they are the engine's again when this returns. */
  onData(socket: RelaySocket, bytes: Uint8Array, from: number, to: number): void;
  /** The peer has ended its direction. The own direction stays open. */
  onEnd(socket: RelaySocket): void;
  /** What `write` had to keep has been sent. */
  onDrain(socket: RelaySocket): void;
  /** The socket is gone, by `error` (an errno's name, as `ECONNRESET`) or in peace (`""`). Nothing follows. */
  onClose(socket: RelaySocket, error: string): void;
}

/**
 * A stream socket of an engine. It starts paused, half-open sockets are allowed, and Nagle's algorithm is off.
 *
 * @public
 */
export interface RelaySocket {
  owner: SocketOwner;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /**
   * The descriptor of the operating system, or -1 where the engine does not know it. Options of the socket are read by it (original
   * destination), nothing is sent or received.
   */
  readonly fd: number;
  /** Something of the peer, or its end, is there to be delivered. False also where the engine does not know. */
  readonly canRead: boolean;
  /** Deliver what arrives. */
  resume(): void;
  /** Deliver nothing from now on. */
  pause(): void;
  /**
   * Send; what cannot be sent at once is copied and kept.
   *
   * @returns false: something is kept, `onDrain` follows. Stop writing until then.
   */
  write(bytes: Uint8Array, from: number, to: number): boolean;
  /** End the own direction, after what is kept has been sent. The socket closes when both directions have ended. */
  end(): void;
  /** Close at once in both directions, telling the peer that it was no orderly end (RST). The owner is not told. */
  reset(): void;
  /** Close: what is kept is sent first for as long as the engine sees fit, nothing is received. The owner is not told. */
  destroy(): void;
}

/**
 * What an engine tells about two joined sockets.
 *
 * @public
 */
export interface TunnelOwner {
  /** A side has ended its direction; the other direction goes on. */
  onHalfClose(tunnel: Tunnel, side: TunnelSide): void;
  /** Both sockets are closed. `error` is an errno's name, `""` after two orderly ends; `side` is where it came from. */
  onTunnelEnd(tunnel: Tunnel, side: TunnelSide, error: string): void;
}

/**
 * A side of a tunnel: 0, the client that connected to the proxy, or 1, the server that the proxy connected to.
 *
 * @public
 */
export type TunnelSide = 0 | 1;

/**
 * Decides how fast a tunnel goes.
 *
 * @public
 */
export interface TunnelLimiter {
  /**
   * `bytes` have been taken from `side`.
   *
   * @returns milliseconds for which nothing more is to be taken from it, 0 to go on.
   */
  take(side: TunnelSide, bytes: number): number;
}

/**
 * Sees the bytes of a tunnel pass, in order, before they are sent; with one no engine may move bytes past itself (splice).
 *
 * @public
 */
export interface TunnelTap {
  /** `bytes` from `from` to `to` go from `side` to the other; they are the engine's again when this returns. */
  onBytes(side: TunnelSide, bytes: Uint8Array, from: number, to: number): void;
}

/**
 * What may be attached to a tunnel.
 *
 * @public
 */
export interface TunnelOptions {
  readonly limiter?: TunnelLimiter | undefined;
  readonly tap?: TunnelTap | undefined;
}

/**
 * Two sockets whose bytes go from each to the other. A slow reader holds up the sender and nobody else.
 *
 * @public
 */
export interface Tunnel {
  /** Bytes taken from the client, and from the server. */
  readonly clientBytes: number;
  readonly serverBytes: number;
  /** When something last moved, on the engine's clock. */
  readonly activeMs: number;
  /** Close both sockets at once. The owner is not told. */
  reset(): void;
}

/**
 * Takes connections.
 *
 * @public
 */
export interface ListenerOwner {
  /** A connection, paused; its owner must be set before this returns. */
  onAccept(listener: Listener, socket: RelaySocket): void;
  /** Listening failed, or accepting did, as for want of descriptors (`EMFILE`); it goes on by itself when it can. */
  onListenError(listener: Listener, error: string): void;
}

/**
 * A listening socket.
 *
 * @public
 */
export interface Listener {
  readonly local: Endpoint;
  /** Take nothing more; what was taken goes on. */
  close(): void;
}

/**
 * Takes datagrams.
 *
 * @public
 */
export interface UdpOwner {
  /** A datagram; bytes and `peer` are the engine's again when this returns. */
  onDatagram(port: UdpPort, bytes: Uint8Array, from: number, to: number, peer: Endpoint): void;
  /** A destination refused a datagram, or the port failed. */
  onUdpError(port: UdpPort, error: string): void;
}

/**
 * A bound UDP socket.
 *
 * @public
 */
export interface UdpPort {
  readonly local: Endpoint;
  /** Send to `peer`, or where the port is connected to. What cannot be sent at once is dropped, as a network does. */
  send(bytes: Uint8Array, from: number, to: number, peer?: Endpoint): void;
  close(): void;
}

/**
 * How a listening socket comes about.
 *
 * @public
 */
export interface ListenOptions {
  readonly endpoint: Endpoint;
  /** A descriptor that is bound already; the engine owns it from now on. */
  readonly fd?: number | undefined;
  readonly backlog?: number | undefined;
  /** Connections come to other addresses than the own one too (TPROXY). */
  readonly isTransparent?: boolean | undefined;
}

/**
 * How an outgoing connection is made.
 *
 * @public
 */
export interface ConnectOptions {
  /** Address of the own end; else the system chooses. */
  readonly source?: Endpoint | undefined;
  /** The owner sends as soon as the socket is connected: then the handshake may take one packet less. */
  readonly speaksFirst?: boolean | undefined;
}

/**
 * How a UDP socket comes about.
 *
 * @public
 */
export interface UdpOptions {
  /** Own end; port 0: the system chooses. */
  readonly endpoint: Endpoint;
  /** A descriptor that is bound already; the engine owns it from now on. Not of every engine. */
  readonly fd?: number | undefined;
  /** Others of this process have the same end, and the system gives each client to one of them (SO_REUSEPORT). */
  readonly isShared?: boolean | undefined;
  /** Send here, and take nothing from elsewhere. */
  readonly connectTo?: Endpoint | undefined;
}

/**
 * What moves bytes: sockets of one thread. Everything is called back from the thread's loop, and nothing here blocks.
 *
 * Thread-safety: an engine and all it made belong to the thread that made it.
 *
 * @public
 */
export interface Engine {
  readonly name: string;
  /** Milliseconds on a monotonic clock, as of the current turn of the loop. */
  nowMs(): number;
  /** Call `tick` about every `intervalMs` until the result is disposed of. */
  every(intervalMs: number, tick: () => void): Disposable;
  listen(options: ListenOptions, owner: ListenerOwner, onListening?: (listener: Listener) => void): Listener;
  /** Begin to connect; `onConnect` or `onClose` follows. */
  connect(to: Endpoint, owner: SocketOwner, options?: ConnectOptions): RelaySocket;
  /**
   * Join two sockets. They belong to the tunnel from now on and have no other owner. One whose peer has ended its direction already
   * ends the other's, as if it were now.
   */
  join(client: RelaySocket, server: RelaySocket, owner: TunnelOwner, options?: TunnelOptions): Tunnel;
  /** Bind a UDP socket; throws where the system refuses. */
  udp(options: UdpOptions, owner: UdpOwner, onBound?: (port: UdpPort) => void): UdpPort;
  /** Something outside of the engine (a name look-up, a file) is under way and needs the thread's event loop. */
  hold(): void;
  /** It is over. */
  release(): void;
}
