import * as layout from "./connection-layout.ts";
import { ConnectionState, stateOf } from "./connection-state.ts";
import type { Connections } from "./connections.ts";
import { IpProtocol } from "./protocols.ts";

/** Connections that are compared, as Linux looks at eight buckets (nf_conntrack_core.c), and places looked at to find them. */
const CANDIDATES = 8;
const MOST_PLACES = 512;

/** Connections there is memory for above the limit: those that have ended, while readers may still hold them. */
export function spareConnections(limit: number): number {
  return Math.min(4096, Math.max(512, limit >> 3));
}

/**
 * Whether a connection may be ended to make room for another one, as Linux's early drop has it: nothing has answered, or, of TCP, it
 * is not established yet or no more.
 */
function mayEvict(connections: Connections, offset: number): boolean {
  const { words, doubles } = connections;
  const w = offset >> 2;
  const state = stateOf(Atomics.load(words, w + layout.STATE));
  if (state === ConnectionState.Dead) return false;
  const answered =
    doubles[((w + layout.LINE_WORDS) >> 1) + layout.PACKETS_DOUBLE] +
    layout.readCount(words, w + layout.FOREIGN + layout.FOREIGN_STRIDE);
  if (answered === 0) return true;
  if ((words[w + layout.ORIGINAL + 9] & 0xff) !== IpProtocol.Tcp) return false;
  return state !== ConnectionState.Established && state !== ConnectionState.FinWait;
}

/** Looks for a connection that may go, going round the list. Private to its thread. */
export class EvictionHand {
  #at = 0;

  /**
   * Of the next few connections that may go, the one that was silent for longest; 0 when none is near. Places are read plainly: who
   * ends a connection makes sure that it still lives.
   */
  next(connections: Connections, slots: Int32Array, nowMs: number): number {
    const { words } = connections;
    const places = slots.length - 1;
    let oldest = 0;
    let silentMs = -1;
    let candidates = 0;
    for (let looked = Math.min(places, MOST_PLACES); looked > 0 && candidates < CANDIDATES; looked--) {
      this.#at = this.#at >= places ? 1 : this.#at + 1;
      const offset = slots[this.#at];
      if (offset === 0 || !mayEvict(connections, offset)) continue;
      candidates++;
      const w = offset >> 2;
      const sentMs = (nowMs - words[w + layout.LAST_SEEN_MS]) | 0;
      const receivedMs = (nowMs - words[w + layout.LINE_WORDS + layout.LAST_SEEN_MS]) | 0;
      const silence = Math.min(sentMs, receivedMs);
      if (silence <= silentMs) continue;
      oldest = offset;
      silentMs = silence;
    }
    return oldest;
  }
}
