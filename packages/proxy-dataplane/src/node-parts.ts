import type { FlowTable } from "@x/perf-cache";
import type { Hal, PerCpuCounters } from "@x/smp";
import type { Answers } from "./answers.ts";
import type { Connections } from "./connections.ts";
import type { FlowCache } from "./flow-cache.ts";
import type { DataplaneObserver, TouchKind } from "./observer.ts";
import type { PacketPool } from "./packet-pool.ts";
import type { ClientLimits } from "./policy/client-limits.ts";
import type { SequenceShifts } from "./sequence-shifts.ts";
import type { SelectionSource, Upstreams } from "./upstream.ts";

/** How one vector is to be worked on. */
export interface Modes {
  zeroCopy: boolean;
  rcu: boolean;
  cache: boolean;
  /** The flows of the last vector are too many for the CPU's caches, as far as the look-up can tell: memory is fetched ahead. */
  spread: boolean;
}

/** What the nodes work with. `upstreams` gives the configuration that holds now. */
export interface NodeParts {
  readonly hal: Hal;
  readonly pool: PacketPool;
  readonly table: FlowTable;
  readonly cache: FlowCache;
  readonly connections: Connections;
  readonly counters: PerCpuCounters;
  readonly observer: DataplaneObserver | undefined;
  /** Of the observer; asked for once, so that nobody who does not listen pays. */
  readonly touch: ((offset: number, bytes: number, write: boolean, kind: TouchKind) => void) | undefined;
  readonly source: SelectionSource;
  readonly upstreams: (locked: boolean) => Upstreams;
  readonly modes: Modes;
  readonly answers: Answers;
  readonly shifts: SequenceShifts;
  /** Limits of clients, where the data path keeps them. */
  readonly limits: ClientLimits | undefined;
}
