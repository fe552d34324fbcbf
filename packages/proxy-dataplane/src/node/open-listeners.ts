import { createSocket } from "node:dgram";
import { DataplaneError } from "../errors.ts";
import { listenerName } from "../relay/config-validate.ts";
import { listenEndpoint } from "../relay/endpoints-text.ts";
import type { ListenerConfig, RelayConfig } from "../relay/config.ts";
import type { Endpoint } from "../relay/engine.ts";
import { hasConntrack } from "./conntrack.ts";
import { listenError, type BoundSocket, type ListeningSockets } from "./bound-socket.ts";
import { nativeSockets } from "./native-socket.ts";

const UNKNOWN: Endpoint = { family: 4, host: "127.0.0.1", port: 0 };

/** A listener as the proxy holds it. */
export interface OpenListener {
  /** The number that it keeps over reloads. */
  readonly slot: number;
  readonly key: string;
  /** Where it is bound, with the port that the system chose. */
  readonly local: Endpoint;
  /** Undefined for UDP with the engine over Node.js: there workers bind, for descriptors of `node:dgram` cannot be duplicated. */
  readonly socket: BoundSocket | undefined;
}

/** The listeners of a proxy, bound by the main thread, which knows ports and errors before any worker is told. */
export class OpenListeners {
  readonly #sockets: ListeningSockets;
  #open: readonly OpenListener[] = [];
  #nextSlot = 1;

  constructor(sockets: ListeningSockets) {
    this.#sockets = sockets;
  }

  get all(): readonly OpenListener[] {
    return this.#open;
  }

  /** Where a listener of a configuration is bound. */
  localOf(listener: ListenerConfig): Endpoint {
    return this.#find(listener)?.local ?? UNKNOWN;
  }

  /** The listeners of a configuration, bound where they were not; where one fails none is kept. Rejects with `RELAY_LISTEN`. */
  async bindMissing(config: RelayConfig): Promise<OpenListener[]> {
    const all: OpenListener[] = [];
    try {
      for (const listener of config.listeners) all.push(this.#find(listener) ?? (await this.#bind(listener)));
      return all;
    } catch (error) {
      for (const each of all) if (!this.#open.includes(each)) each.socket?.close();
      throw error;
    }
  }

  /** From now on these are open. Returns those that are not any more, for the caller to close. */
  replace(open: readonly OpenListener[]): readonly OpenListener[] {
    const gone = this.#open.filter((each) => !open.includes(each));
    this.#open = open;
    return gone;
  }

  /** Nothing is to be duplicated until the next call. */
  rest(): void {
    this.#sockets.rest();
  }

  close(): void {
    for (const { socket } of this.#open) socket?.close();
    this.#open = [];
    this.rest();
  }

  #find(listener: ListenerConfig): OpenListener | undefined {
    return this.#open.find((each) => each.key === key(listener));
  }

  async #bind(listener: ListenerConfig): Promise<OpenListener> {
    const { kind } = listener;
    const endpoint = listenEndpoint(listener.listen) ?? UNKNOWN;
    const slot = this.#nextSlot++;
    if (kind === "udp" && this.#sockets.bindDatagrams === undefined)
      return { slot, key: key(listener), local: await tryUdp(endpoint), socket: undefined };
    if (kind === "redirect") assertRedirect(endpoint);
    const socket = kind === "udp" ? this.#sockets.bindDatagrams!(endpoint) : this.#sockets.bind(endpoint);
    if (kind === "tproxy") makeTransparent(socket, endpoint);
    return { slot, key: key(listener), local: socket.local, socket };
  }
}

/** What must be bound anew when it changes. */
function key(listener: ListenerConfig): string {
  return `${listenerName(listener)} ${listener.kind} ${listener.listen}`;
}

/** Bind and give back, to know that it can be done and where. */
function tryUdp(endpoint: Endpoint): Promise<Endpoint> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(endpoint.family === 6 ? "udp6" : "udp4");
    socket.on("error", (error: NodeJS.ErrnoException) => {
      socket.close();
      reject(listenError(endpoint, error.code ?? "EIO"));
    });
    socket.bind({ address: endpoint.host, port: endpoint.port, exclusive: true }, () => {
      const { port } = socket.address();
      socket.close(() => resolve({ ...endpoint, port }));
    });
  });
}

function assertRedirect({ host, port }: Endpoint): void {
  if (process.platform !== "linux") throw impossible(host, port, "redirect is of Linux");
  if (nativeSockets() !== undefined || hasConntrack()) return;
  throw impossible(host, port, "redirect needs koffi, or /proc/net/nf_conntrack and the right to read it");
}

function makeTransparent(socket: BoundSocket, { host, port, family }: Endpoint): void {
  const native = nativeSockets();
  const errors = socket.fds.map((fd) => native?.setTransparent(fd, family === 6 ? 6 : 4));
  const failure =
    native === undefined
      ? "tproxy needs Linux and koffi"
      : (errors.find((error) => error !== "") ?? "").replace(/^EPERM$/, "EPERM, tproxy needs CAP_NET_ADMIN");
  if (failure === "") return;
  socket.close();
  throw impossible(host, port, failure);
}

function impossible(host: string, port: number, reason: string): DataplaneError {
  return new DataplaneError("RELAY_LISTEN", `cannot listen on ${host} port ${port}: ${reason}`);
}
