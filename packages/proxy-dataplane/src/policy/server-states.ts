import {
  PADDING_BYTES,
  soloHal,
  SpinLocks,
  type CpuId,
  type Hal,
  type LockObserver,
  type SpinLocksHandle,
} from "@x/smp";
import { DataplaneError } from "../errors.ts";
import { MAX_SLOTS } from "./limits.ts";
import type { Identity } from "./server-set.ts";

/*
 * What all CPUs share of servers and groups. A server keeps its slot, and so its health and its count of connections, as
 * long as configurations name it, whatever its place in them.
 *
 *   line 0        EPOCH      changes whenever a server's health does          Atomics
 *                 CLAIMS     counts claims, to find the slot unused longest   under the lock
 *   line 1 + s    LOW, HIGH  whose slot it is; both 0: nobody's               written under the lock
 *                 CLAIMED    CLAIMS at its last claim                         under the lock
 *                 HEALTH     of a server                                      Atomics
 *                 OPEN       connections that are open                        Atomics
 *                 TURN       of a group, the next turn of its round           Atomics
 *
 * A slot is taken from its owner only when all are owned, OPEN is 0, and no other was unused longer. Somebody who still has
 * the old owner's number (a CPU that has not seen the new configuration) then counts on the new owner's slot, up and down
 * again: harmless.
 */
const LINE_WORDS = PADDING_BYTES / 4;
const EPOCH = 0;
const CLAIMS = 1;
const LOW = 0;
const HIGH = 1;
const CLAIMED = 2;
const HEALTH = 3;
const OPEN = 4;
const TURN = 5;

/**
 * Whether a server can take connections. `Draining` keeps those it has and gets no new ones, `Down` the same: who watches
 * it ends what it has.
 *
 * @public
 */
export const ServerHealth: { readonly Up: 0; readonly Draining: 1; readonly Down: 2 } = { Up: 0, Draining: 1, Down: 2 };

/**
 * A value of the constant of the same name.
 *
 * @public
 */
export type ServerHealth = 0 | 1 | 2;

/**
 * What joins the shared states of servers from another thread.
 *
 * @public
 */
export interface ServerStatesHandle {
  readonly memory: SharedArrayBuffer;
  readonly lock: SpinLocksHandle;
}

/** What a thread that joins {@link ServerStates} passes. */
export interface ServerStatesJoin {
  readonly hal?: Hal;
  readonly lockObserver?: LockObserver | undefined;
}

/** Health and open connections of servers, turns of groups; from any CPU at any time. */
export class ServerStates {
  readonly handle: ServerStatesHandle;
  readonly #words: Int32Array;
  readonly #lock: SpinLocks;

  private constructor(handle: ServerStatesHandle, { hal = soloHal(), lockObserver }: ServerStatesJoin) {
    this.handle = handle;
    this.#words = new Int32Array(handle.memory);
    this.#lock = SpinLocks.attach(handle.lock, { hal, observer: lockObserver });
  }

  static create(join: ServerStatesJoin = {}): ServerStates {
    const { hal = soloHal() } = join;
    const memory = new SharedArrayBuffer((1 + MAX_SLOTS) * LINE_WORDS * 4);
    return new ServerStates({ memory, lock: SpinLocks.create({ name: "proxy-servers", hal }).handle }, join);
  }

  static attach(handle: ServerStatesHandle, join: ServerStatesJoin = {}): ServerStates {
    return new ServerStates(handle, join);
  }

  /** The thread of `cpu` has died: whoever waits for the lock that it held goes on. */
  reportDead(cpu: CpuId): void {
    this.#lock.releaseDeadOwner(cpu);
  }

  /** The slot of an identity, from 1; its own from before, if it has one. A lock is taken. */
  claim({ low, high }: Identity): number {
    const words = this.#words;
    this.#lock.lock();
    try {
      let free = 0;
      for (let slot = 1; slot <= MAX_SLOTS; slot++) {
        const at = slot * LINE_WORDS;
        if (words[at + LOW] === low && words[at + HIGH] === high) return this.#own(slot);
        if (free === 0 || this.#isBetter(slot, free)) free = slot;
      }
      if (!this.#isReusable(free)) {
        throw new DataplaneError(
          "DATAPLANE_INVALID_CONFIG",
          `all ${MAX_SLOTS} servers that were ever named have connections`,
        );
      }
      const at = free * LINE_WORDS;
      for (const word of [HEALTH, OPEN, TURN]) Atomics.store(words, at + word, 0);
      words[at + LOW] = low;
      words[at + HIGH] = high;
      return this.#own(free);
    } finally {
      this.#lock.unlock();
    }
  }

  /** Changes with every change of any server's health. */
  get epoch(): number {
    return Atomics.load(this.#words, EPOCH);
  }

  /** Every choice that begins after this call obeys it, on every CPU. */
  setHealth(slot: number, health: ServerHealth): void {
    if (Atomics.exchange(this.#words, slot * LINE_WORDS + HEALTH, health) === health) return;
    Atomics.add(this.#words, EPOCH, 1);
  }

  health(slot: number): ServerHealth {
    return Atomics.load(this.#words, slot * LINE_WORDS + HEALTH) as ServerHealth;
  }

  /** A connection to the server is open. */
  opened(slot: number): void {
    Atomics.add(this.#words, slot * LINE_WORDS + OPEN, 1);
  }

  /** It is no longer. */
  closed(slot: number): void {
    Atomics.sub(this.#words, slot * LINE_WORDS + OPEN, 1);
  }

  open(slot: number): number {
    return Atomics.load(this.#words, slot * LINE_WORDS + OPEN);
  }

  /** The next turn of a group, from 0, modulo 2^32. */
  nextTurn(slot: number): number {
    return Atomics.add(this.#words, slot * LINE_WORDS + TURN, 1) >>> 0;
  }

  #own(slot: number): number {
    this.#words[slot * LINE_WORDS + CLAIMED] = ++this.#words[CLAIMS];
    return slot;
  }

  #isReusable(slot: number): boolean {
    return this.#words[slot * LINE_WORDS + HIGH] === 0 || this.open(slot) === 0;
  }

  /** Whether `slot` is to be taken rather than `other`: free before owned, then unused longest. */
  #isBetter(slot: number, other: number): boolean {
    const words = this.#words;
    if (!this.#isReusable(slot)) return false;
    if (!this.#isReusable(other)) return true;
    // The differences are taken modulo 2^32, as the count of claims wraps; a free slot was never claimed.
    const age = (at: number): number =>
      words[at * LINE_WORDS + HIGH] === 0 ? 0x1_0000_0000 : (words[CLAIMS] - words[at * LINE_WORDS + CLAIMED]) >>> 0;
    return age(slot) > age(other);
  }
}
