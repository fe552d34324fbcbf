import type { RelayCore } from "./core.ts";
import type { Endpoint } from "./engine.ts";
import type { ParsedRequest } from "./request.ts";
import type { ListenerRuntime } from "./runtime.ts";

/** A client's connection, or what a client sends to one target by UDP: what the core keeps and the access log tells of. */
export interface Flow {
  readonly core: RelayCore;
  readonly listener: ListenerRuntime;
  /** Its object in the table of all. */
  readonly object: number;
  /** Belongs to the {@link FlowSet}; -1: it is in none. */
  place: number;
  /** What the client speaks, or how it was taken. */
  readonly protocol: string;
  readonly source: Endpoint;
  /** Whom the client has proved to be; "" without. */
  readonly user: string;
  readonly request: ParsedRequest;
  /** The name that the client asks for, where it was looked at; "" without. */
  readonly hostName: string;
  /** The servers on the way to the target; "" for a direct connection. */
  readonly upstreamName: string;
  readonly startMs: number;
  readonly connectedMs: number;
  readonly clientBytes: number;
  readonly serverBytes: number;
  /** End at once, for a reason from outside. */
  kill(reason: "killed" | "drained" | "internal"): void;
  /** Bring what listings show up to date. */
  publish(): void;
}
