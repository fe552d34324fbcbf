import { fork, type ChildProcess } from "node:child_process";
import * as net from "node:net";
import { getSystemErrorName } from "node:util";
import { DataplaneError } from "../errors.ts";
import { listenError, removeStale, type BoundSocket, type ListeningSockets } from "./bound-socket.ts";
import { undocumented } from "./internals.ts";
import type { Endpoint } from "../relay/engine.ts";

/** A handle of libuv with a bound socket behind it, which nobody polls. */
interface BoundHandle {
  readonly fd: number;
  close(): void;
  getsockname?(into: { address?: string; port?: number; family?: string }): number;
}

/** UV_TCP_IPV6ONLY: `[::]` does not take the place of `0.0.0.0` too. */
const IPV6_ONLY = 1;

/** What `node:cluster` makes its listening sockets with. */
type CreateHandle = (
  host: string,
  port: number,
  type: 4 | 6 | -1,
  fd?: undefined,
  flags?: number,
) => BoundHandle | number;

/**
 * Descriptors of one bound socket for several threads. Threads share descriptors, and whoever closes one closes it for all, also
 * by dying; so each thread gets a duplicate of its own. Node.js has no `dup`, but a descriptor sent to another process and back comes back as a
 * new one.
 */
export class ListeningHandles implements ListeningSockets {
  #echo: Echo | undefined = undefined;

  /** Bind. Throws `RELAY_LISTEN` with the system's reason. */
  bind(endpoint: Endpoint): BoundSocket {
    if (endpoint.family === 0) removeStale(endpoint.host);
    const create = undocumented(net, "_createServerHandle") as CreateHandle;
    const { host, port, family } = endpoint;
    const handle =
      family === 0 ? create(host, -1, -1) : create(host, port, family, undefined, family === 6 ? IPV6_ONLY : 0);
    if (typeof handle === "number") throw listenError(endpoint, errnoName(handle));
    // libuv keeps EADDRINUSE for later, and tells it to whoever asks next.
    const name: { port?: number } = {};
    const status = handle.getsockname?.(name) ?? 0;
    if (status !== 0 && endpoint.family !== 0) {
      handle.close();
      throw listenError(endpoint, errnoName(status));
    }
    return new HandleSocket(handle, { ...endpoint, port: name.port ?? endpoint.port }, this);
  }

  /** A new descriptor for the same socket; the receiver closes it. */
  duplicate(handle: BoundHandle): Promise<number> {
    if (this.#echo === undefined || this.#echo.hasEnded) this.#echo = new Echo();
    return this.#echo.duplicate(handle);
  }

  /** Nothing is to be duplicated until the next call. */
  rest(): void {
    this.#echo?.end();
    this.#echo = undefined;
  }
}

/** A process that sends back what it is sent. */
class Echo {
  hasEnded = false;
  readonly #process: ChildProcess;
  readonly #waiting: { resolve: (fd: number) => void; reject: (error: Error) => void }[] = [];

  constructor() {
    const entry = new URL("./echo-handle.js", import.meta.url);
    this.#process = fork(entry, { stdio: ["ignore", "ignore", "ignore", "ipc"], execArgv: [] });
    this.#process.on("message", (_message: unknown, handle: unknown) => this.#onHandle(handle));
    this.#process.on("error", () => this.#onExit());
    this.#process.on("exit", () => this.#onExit());
  }

  duplicate(handle: BoundHandle): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#process.send("", handle as unknown as net.Socket, (error) => {
        if (error !== null) this.#onExit();
      });
    });
  }

  /** End, once nobody waits: a reload and the start of a worker may want it at the same time. */
  end(): void {
    this.hasEnded = true;
    if (this.#waiting.length === 0) this.#process.kill("SIGKILL");
  }

  #onHandle(handle: unknown): void {
    const { fd } = (handle ?? { fd: -1 }) as BoundHandle;
    const waiting = this.#waiting.shift();
    if (fd >= 0) {
      kept.push(handle);
      waiting?.resolve(fd);
    } else waiting?.reject(new DataplaneError("RELAY_LISTEN", "a listening socket was lost on its way"));
    if (this.hasEnded) this.end();
  }

  #onExit(): void {
    this.hasEnded = true;
    const error = new DataplaneError("RELAY_LISTEN", "the process that duplicates sockets has ended");
    for (const each of this.#waiting.splice(0)) each.reject(error);
  }
}

/**
 * Handles whose descriptors were given away. They must not be closed (the number may be another file's by then), so they must not
 * be collected either.
 */
const kept: unknown[] = [];

class HandleSocket implements BoundSocket {
  readonly local: Endpoint;
  readonly #handle: BoundHandle;
  readonly #handles: ListeningHandles;

  constructor(handle: BoundHandle, local: Endpoint, handles: ListeningHandles) {
    this.#handle = handle;
    this.#handles = handles;
    this.local = local;
  }

  get fds(): readonly number[] {
    return [this.#handle.fd];
  }

  duplicate(): Promise<number> {
    return this.#handles.duplicate(this.#handle);
  }

  close(): void {
    this.#handle.close();
  }
}

function errnoName(errno: number): string {
  return getSystemErrorName(errno);
}
