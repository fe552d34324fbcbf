import type { CpuId } from "@x/smp";
import type { DropReason } from "./statistics.ts";

/**
 * The stages a batch goes through, in order.
 *
 * @public
 */
export const Stage: {
  /** Packets are taken over; without zero-copy, copied. */
  readonly Receive: 0;
  readonly Parse: 1;
  readonly Hash: 2;
  /** Connection cache, then flow table. */
  readonly Lookup: 3;
  /** State machine of known connections. */
  readonly State: 4;
  /** Configuration, choice of a server, new connections. */
  readonly Route: 5;
  readonly Rewrite: 6;
  readonly Transmit: 7;
} = { Receive: 0, Parse: 1, Hash: 2, Lookup: 3, State: 4, Route: 5, Rewrite: 6, Transmit: 7 };

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type Stage = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;

/**
 * What memory an {@link DataplaneObserver.onTouch} is about.
 *
 * @public
 */
export const TouchKind: {
  /** Bytes of the packet pool. */
  readonly Packet: 0;
  /** Bytes of the connection cache's page source. */
  readonly Connection: 1;
} = { Packet: 0, Connection: 1 };

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type TouchKind = 0 | 1;

/**
 * What happens on the data path, told by the CPU that does it.
 *
 * @public
 */
export interface DataplaneObserver {
  /** `packets` packets have gone through `stage`. */
  onStage?(cpu: CpuId, stage: Stage, packets: number): void;
  /** A connection was made, or taken out. */
  onConnection?(cpu: CpuId, connection: number, created: boolean): void;
  /** The state of a connection has changed: of TCP by the state machine, of others because an answer came. */
  onConnectionUpdate?(cpu: CpuId, connection: number): void;
  onDrop?(cpu: CpuId, reason: DropReason): void;
  /** `bytes` bytes at `offset` of the memory of `kind` were read or, if `write`, written. */
  onTouch?(offset: number, bytes: number, write: boolean, kind: TouchKind): void;
}
