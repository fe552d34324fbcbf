import { fork, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync, unlinkSync } from "node:fs";
import * as net from "node:net";
import { getSystemErrorName } from "node:util";
import { DataplaneError } from "../errors.ts";
import type { Endpoint } from "../relay/engine.ts";

/** A handle of libuv with a bound socket behind it, which nobody polls. */
interface BoundHandle {
  readonly fd: number;
  close(): void;
  getsockname?(into: { address?: string; port?: number; family?: string }): number;
}

/** What `node:cluster` makes its listening sockets with. */
type CreateHandle = (host: string, port: number, type: 4 | 6 | -1) => BoundHandle | number;

/**
 * Descriptors of one bound socket for several threads. Threads share descriptors, and whoever closes one closes it for all, also
 * by dying; so each thread gets a duplicate of its own. Node.js has no `dup`, but a descriptor sent to another process and back comes back as a
 * new one.
 */
export class ListeningHandles {
  #echo: ChildProcess | undefined = undefined;
  readonly #waiting: { resolve: (fd: number) => void; reject: (error: Error) => void }[] = [];

  /** Bind. Throws `RELAY_LISTEN` with the system's reason. */
  bind(endpoint: Endpoint): BoundSocket {
    if (endpoint.family === 0) removeStale(endpoint.host);
    const create = (net as unknown as { _createServerHandle: CreateHandle })._createServerHandle;
    const handle =
      endpoint.family === 0 ? create(endpoint.host, -1, -1) : create(endpoint.host, endpoint.port, endpoint.family);
    if (typeof handle === "number") throw listenError(endpoint, errnoName(handle));
    // libuv keeps EADDRINUSE for later, and tells it to whoever asks next.
    const name: { port?: number } = {};
    const status = handle.getsockname?.(name) ?? 0;
    if (status !== 0 && endpoint.family !== 0) {
      handle.close();
      throw listenError(endpoint, errnoName(status));
    }
    return new BoundSocket(handle, { ...endpoint, port: name.port ?? endpoint.port }, this);
  }

  /** A new descriptor for the same socket; the receiver closes it. */
  duplicate(handle: BoundHandle): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#process().send("", handle as unknown as net.Socket, (error) => {
        if (error !== null) this.#waiting.shift()?.reject(error);
      });
    });
  }

  /** The process is needed no longer for now. */
  rest(): void {
    this.#echo?.kill("SIGKILL");
    this.#echo = undefined;
  }

  #process(): ChildProcess {
    if (this.#echo !== undefined) return this.#echo;
    const echo = fork(new URL("./echo-handle.js", import.meta.url), {
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      execArgv: [],
    });
    echo.on("message", (_message: unknown, handle: unknown) => {
      const fd = (handle as BoundHandle | undefined)?.fd ?? -1;
      const waiting = this.#waiting.shift();
      if (fd >= 0) {
        kept.push(handle);
        waiting?.resolve(fd);
      } else waiting?.reject(new DataplaneError("RELAY_LISTEN", "a listening socket was lost on its way"));
    });
    echo.on("exit", () => {
      if (this.#echo === echo) this.#echo = undefined;
      const error = new DataplaneError("RELAY_LISTEN", "the process that duplicates sockets has ended");
      for (const each of this.#waiting.splice(0)) each.reject(error);
    });
    this.#echo = echo;
    return echo;
  }
}

/**
 * Handles whose descriptors were given away. They must not be closed (the number may be another file's by then), so they must not
 * be collected either.
 */
const kept: unknown[] = [];

/** A bound socket, from which threads get descriptors. */
export class BoundSocket {
  /** Where it is bound, with the port that the system chose. */
  readonly local: Endpoint;
  readonly #handle: BoundHandle;
  readonly #handles: ListeningHandles;

  constructor(handle: BoundHandle, local: Endpoint, handles: ListeningHandles) {
    this.#handle = handle;
    this.#handles = handles;
    this.local = local;
  }

  duplicate(): Promise<number> {
    return this.#handles.duplicate(this.#handle);
  }

  close(): void {
    this.#handle.close();
  }
}

/** A socket's file outlives a process that was killed. It is removed where nobody answers behind it; binding fails otherwise. */
function removeStale(path: string): void {
  if (existsSync(path) && !isTaken(path)) unlinkSync(path);
}

/** Whether a process listens there, as the kernel lists it; where there is no such list, it is taken to be alive. */
function isTaken(path: string): boolean {
  try {
    return readFileSync("/proc/net/unix", "latin1")
      .split("\n")
      .some((line) => line.endsWith(` ${path}`));
  } catch {
    return true;
  }
}

function listenError({ host, port }: Endpoint, reason: string): DataplaneError {
  return new DataplaneError("RELAY_LISTEN", `cannot listen on ${host}${port > 0 ? ` port ${port}` : ""}: ${reason}`);
}

function errnoName(errno: number): string {
  return getSystemErrorName(errno);
}
