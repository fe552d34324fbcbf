import { DataplaneError } from "../errors.ts";
import type { EngineName } from "../relay/config.ts";
import type { Engine } from "../relay/engine.ts";
import type { ListeningSockets } from "./bound-socket.ts";
import { EpollEngine } from "./epoll/engine.ts";
import { loadLibc } from "./epoll/libc.ts";
import { ReusePortSockets } from "./epoll/reuse-port.ts";
import { ListeningHandles } from "./listening-handles.ts";
import { NetEngine } from "./net-engine.ts";

/** Which engine runs, and why. */
export interface EngineChoice {
  readonly name: Exclude<EngineName, "auto">;
  readonly reason: string;
}

/** The engine for a configuration: `auto` is the fastest that works here. Throws `RELAY_ENGINE` where the one that is asked for does not. */
export function chooseEngine(asked: EngineName): EngineChoice {
  if (asked === "node") return { name: "node", reason: "as configured" };
  const libc = loadLibc();
  if (typeof libc !== "string") return { name: "epoll", reason: asked === "auto" ? "koffi loads" : "as configured" };
  if (asked === "epoll") throw new DataplaneError("RELAY_ENGINE", `the epoll engine does not work here: ${libc}`);
  return { name: "node", reason: libc };
}

/** An engine for this thread. */
export function makeEngine(name: EngineChoice["name"], opened: Uint8Array | undefined): Engine {
  const libc = name === "epoll" ? loadLibc() : "";
  return typeof libc === "string" ? new NetEngine() : new EpollEngine(libc, opened);
}

/** How `workers` threads with such engines get their listening sockets. */
export function listeningSockets(name: EngineChoice["name"], workers: number): ListeningSockets {
  const libc = name === "epoll" ? loadLibc() : "";
  return typeof libc === "string" ? new ListeningHandles() : new ReusePortSockets(libc, workers);
}
