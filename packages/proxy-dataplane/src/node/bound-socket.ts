import { existsSync, readFileSync, unlinkSync } from "node:fs";
import { DataplaneError } from "../errors.ts";
import type { Endpoint } from "../relay/engine.ts";

/** A bound socket, or one for each worker, from which workers get descriptors. */
export interface BoundSocket {
  /** Where it is bound, with the port that the system chose. */
  readonly local: Endpoint;
  /** Descriptors of the main thread; for their options alone. */
  readonly fds: readonly number[];
  /** A descriptor for a worker, 1 and up, that is noted in `opened` where nothing else closes it when the worker dies. */
  duplicate(worker: number, opened: SharedArrayBuffer): Promise<number>;
  close(): void;
}

/** Binds sockets for all workers, in the way of an engine. */
export interface ListeningSockets {
  /** Throws `RELAY_LISTEN` with the system's reason. */
  bind(endpoint: Endpoint): BoundSocket;
  /** The same for datagrams; undefined where descriptors cannot be given to workers, which then bind themselves. */
  readonly bindDatagrams?: (endpoint: Endpoint) => BoundSocket;
  /** Nothing is to be duplicated until the next call. */
  rest(): void;
}

/** A socket's file outlives a process that was killed. It is removed where nobody answers behind it; binding fails otherwise. */
export function removeStale(path: string): void {
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

/** The error of a listener that cannot be bound. */
export function listenError({ host, port }: Endpoint, reason: string): DataplaneError {
  return new DataplaneError("RELAY_LISTEN", `cannot listen on ${host}${port > 0 ? ` port ${port}` : ""}: ${reason}`);
}
