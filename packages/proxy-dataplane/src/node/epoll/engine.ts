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
} from "../../relay/engine.ts";
import { connectSocket } from "./connect.ts";
import type { Libc } from "./libc.ts";
import { EpollListener } from "./listener.ts";
import { EpollLoop } from "./loop.ts";
import { Pipes } from "./pipes.ts";
import type { EpollSocket } from "./socket.ts";
import { EpollTunnel } from "./tunnel.ts";
import { Datagrams } from "./datagrams.ts";
import { EpollUdpPort } from "./udp-port.ts";

/** The engine for Linux: a loop of its own over epoll, and calls of libc by way of koffi. */
export class EpollEngine implements Engine {
  readonly name = "epoll";
  readonly #loop: EpollLoop;
  readonly #pipes: Pipes;
  #datagrams: Datagrams | undefined = undefined;

  /** @param opened - a byte for every descriptor, 1 while this engine has it open, for whoever must close them in its place */
  constructor(libc: Libc, opened?: Uint8Array) {
    this.#loop = new EpollLoop(libc, opened);
    this.#pipes = new Pipes(this.#loop);
  }

  nowMs(): number {
    return this.#loop.nowMs();
  }

  every(intervalMs: number, tick: () => void): Disposable {
    return this.#loop.every(intervalMs, tick);
  }

  listen(options: ListenOptions, owner: ListenerOwner, onListening?: (listener: Listener) => void): Listener {
    return new EpollListener(this.#loop, options, owner, onListening);
  }

  connect(to: Endpoint, owner: SocketOwner, options?: ConnectOptions): RelaySocket {
    return connectSocket(this.#loop, to, owner, options);
  }

  join(client: RelaySocket, server: RelaySocket, owner: TunnelOwner, options?: TunnelOptions): Tunnel {
    return new EpollTunnel(client as EpollSocket, server as EpollSocket, owner, this.#pipes, this, options);
  }

  udp(options: UdpOptions, owner: UdpOwner, onBound?: (port: UdpPort) => void): UdpPort {
    this.#datagrams ??= new Datagrams(this.#loop);
    return new EpollUdpPort(this.#loop, this.#datagrams, options, owner, onBound);
  }

  hold(): void {
    this.#loop.hold();
  }

  release(): void {
    this.#loop.release();
  }
}
