import type { CpuId } from "../hal.ts";
import { PADDING_BYTES } from "../layout.ts";
import { ExclusiveLocks, Outcome } from "./exclusive-locks.ts";
import {
  assertRoom,
  LockAccess,
  newLocks,
  OWNER_DIED,
  type LockHandle,
  type LockJoin,
  type LockOptions,
} from "./lock.ts";

/*
 * A line for the lock and a line (node) for each CPU:
 *
 *   lock   TAIL     who came last: low 20 bits of its ticket | CPU.                    Compare-exchange only
 *          SERVING  the ticket that has the lock (28 bits) | owner died (bit 28).      Stored by its holder, moved by
 *                                                                                      compare-exchange past those who left
 *   node   TURN     low 20 bits of this CPU's ticket | state                           its CPU; others: Left -> Passed
 *          PRED     TAIL before it came: who is in front                               its CPU
 *          NEXT     who came behind: low 20 bits of its ticket | CPU                   whoever came behind
 *          POKE     how often this CPU was told to look at SERVING                     whoever hands over, Atomics.add (mcs)
 *
 * The lock is free when SERVING is one past TAIL. A CPU writes its node before it swings TAIL, so the queue can be read off
 * the nodes at every step: a CPU that dies anywhere has either not come (nobody has its TAIL value as PRED, and TAIL is not
 * its) or has a ticket, with which recovery does what it would have done itself.
 *
 * Hand-over: store SERVING, then look at NEXT. Who comes: stores NEXT of the one in front, then looks at SERVING. One of the
 * two sees the other, so nobody waits for a link as in the original queue lock, and a POKE is only a hint to look: it may
 * come late, when its CPU waits for its next turn, and so must not undo a newer one.
 *
 * Plain accesses: a CPU's own TURN and PRED, which others read only once its compare-exchange of TAIL has shown them the
 * way (and of which others change nothing but Left); SERVING by its holder, whom its load in `acquire` has brought up to
 * date; TAIL as a guess that the compare-exchange checks.
 *
 * Leaving (time over, or dead): TURN Waiting -> Left, then look at SERVING. Handing over: store SERVING, then look at TURN;
 * Left -> Passed, and SERVING moves on. The node stays in the queue until then; a CPU that comes back before has its old place.
 */
const WORDS_PER_LINE = PADDING_BYTES / 4;
const TAIL = 0;
const SERVING = 1;
const TURN = 0;
const PRED = 1;
const NEXT = 2;
const POKE = 3;

const LOW = 0xfffff;
const TICKET_MASK: number = OWNER_DIED - 1;
const CPU_BITS = 12;
const CPU_MASK = 0xfff;

/* States of TURN. Waiting is also the state of the holder, and of a CPU about to come. */
const STATE_BITS = 2;
const STATE_MASK = 3;
const WAITING = 1;
const LEFT = 2;
const PASSED = 3;

const tagOf = (low: number, cpu: CpuId): number => (low << CPU_BITS) | cpu;
const turnOf = (low: number, state: number): number => (low << STATE_BITS) | state;
const after = (serving: number): number => ((serving + 1) & TICKET_MASK) | (serving & OWNER_DIED);

/**
 * First come, first served; the two kinds differ in the word a waiting CPU looks at.
 *
 * @public
 */
export abstract class QueueLocks<Kind extends "ticket" | "mcs"> extends ExclusiveLocks<Kind> {
  readonly #stride: number;
  /** Wait on the own node. */
  readonly #local: boolean;

  /** @internal */
  protected constructor(handle: LockHandle<Kind>, join: LockJoin) {
    super(handle, join);
    assertRoom(handle, join.hal);
    this.#stride = WORDS_PER_LINE * (1 + handle.possibleCpus);
    this.#local = handle.kind === "mcs";
  }

  /** @internal */
  protected static newQueues<Kind extends "ticket" | "mcs">(kind: Kind, options: LockOptions): LockHandle<Kind> {
    const stride = PADDING_BYTES * (1 + (options.hal?.possibleCpus ?? 1));
    const handle = newLocks(kind, stride, options);
    const words = new Int32Array(handle.memory);
    for (let lock = 0; lock < handle.count; lock++) words[(lock * stride) / 4 + SERVING] = 1;
    return handle;
  }

  override lock(lock = 0): boolean {
    const base = lock * this.#stride;
    const me = this.hal.currentCpu();
    const node = this.#node(base, me);
    if (this.observer !== undefined || this.words[node + TURN] !== 0) return super.lock(lock);
    const low = this.#takeTicket(base, node, me);
    if (Atomics.load(this.words, base + SERVING) === low) return false;
    return this.waitInLine(lock, low, Infinity) === Outcome.OwnerDied;
  }

  override unlock(lock = 0): void {
    const base = lock * this.#stride;
    const turn = this.words[this.#node(base, this.hal.currentCpu()) + TURN];
    if (turn !== turnOf(this.words[base + SERVING] & LOW, WAITING)) throw this.notOwned(lock);
    if (this.observer !== undefined) this.observer.onRelease?.(this, lock, LockAccess.Exclusive);
    this.release(lock);
  }

  override isLocked(lock = 0): boolean {
    const base = lock * this.#stride;
    return !this.#isFree(Atomics.load(this.words, base + TAIL), Atomics.load(this.words, base + SERVING));
  }

  owner(lock = 0): number {
    const base = lock * this.#stride;
    const tail = Atomics.load(this.words, base + TAIL);
    const serving = Atomics.load(this.words, base + SERVING);
    if (this.#isFree(tail, serving)) return -1;
    if (tail >>> CPU_BITS === (serving & LOW)) return tail & CPU_MASK;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      if (Atomics.load(this.words, this.#node(base, cpu) + TURN) === turnOf(serving & LOW, WAITING)) return cpu;
    }
    return -1;
  }

  ownerDied(lock = 0): boolean {
    return (Atomics.load(this.words, lock * this.#stride + SERVING) & OWNER_DIED) !== 0;
  }

  markConsistent(lock = 0): void {
    if (this.owner(lock) !== this.hal.currentCpu()) throw this.notOwned(lock);
    Atomics.and(this.words, lock * this.#stride + SERVING, TICKET_MASK);
  }

  /** CPUs that wait for `lock` in the order of their turns, the holder first: for reports, at rest. Those who left are not in it. */
  queue(lock = 0): CpuId[] {
    const base = lock * this.#stride;
    const first = Atomics.load(this.words, base + SERVING) & LOW;
    const length = ((Atomics.load(this.words, base + TAIL) >>> CPU_BITS) - first + 1) & LOW;
    const cpus: CpuId[] = [];
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      const turn = Atomics.load(this.words, this.#node(base, cpu) + TURN);
      const place = ((turn >> STATE_BITS) - first) & LOW;
      if ((turn & STATE_MASK) === WAITING && place < length) cpus[place] = cpu;
    }
    return cpus.filter((cpu) => cpu !== undefined);
  }

  /** Frees what `cpu` holds and lets its place in every queue be passed over. */
  releaseDeadOwner(cpu: CpuId): number {
    let freed = 0;
    for (let lock = 0; lock < this.count; lock++) {
      const base = lock * this.#stride;
      const node = this.#node(base, cpu);
      const turn = Atomics.load(this.words, node + TURN);
      if ((turn & STATE_MASK) === WAITING && this.#bury(base, node, turn >> STATE_BITS, cpu)) freed++;
      this.#handOverForTheDead(base);
    }
    return freed;
  }

  /** @internal */
  protected attempt(lock: number): Outcome {
    const { words } = this;
    const base = lock * this.#stride;
    const me = this.hal.currentCpu();
    const node = this.#node(base, me);
    const turn = words[node + TURN];
    if ((turn & STATE_MASK) === WAITING) return Outcome.Recursive;
    if (turn !== 0 && !this.#forget(base, node, me, turn)) return Outcome.TimedOut;
    const tail = Atomics.load(words, base + TAIL);
    const serving = Atomics.load(words, base + SERVING);
    if (!this.#isFree(tail, serving)) return Outcome.TimedOut;
    if (this.#come(base, node, me, tail) !== tail) {
      words[node + TURN] = 0;
      return Outcome.TimedOut;
    }
    return serving > TICKET_MASK ? Outcome.OwnerDied : Outcome.Taken;
  }

  /** @internal */
  protected acquire(lock: number, deadlineNs: number): Outcome {
    const base = lock * this.#stride;
    const me = this.hal.currentCpu();
    const low = this.#takeTicket(base, this.#node(base, me), me);
    return low < 0 ? Outcome.Recursive : this.waitInLine(lock, low, deadlineNs);
  }

  /** The calling CPU has the ticket `low`. @internal */
  protected waitInLine(lock: number, low: number, deadlineNs: number): Outcome {
    const { words } = this;
    const base = lock * this.#stride;
    const me = this.hal.currentCpu();
    const node = this.#node(base, me);
    let serving = Atomics.load(words, base + SERVING);
    if ((serving & LOW) !== low) {
      this.#link(base, low, me, words[node + PRED]);
      this.observer?.onContended?.(this, lock, this.owner(lock));
      this.spins = 1;
      for (;;) {
        const poke = this.#local ? Atomics.load(words, node + POKE) : 0;
        serving = Atomics.load(words, base + SERVING);
        if ((serving & LOW) === low) break;
        do {
          if (deadlineNs !== Infinity && this.hal.now() >= deadlineNs) {
            if (this.#leave(base, node, low)) return Outcome.TimedOut;
            break;
          }
          this.hal.relax(this.spins++);
        } while (this.#local && Atomics.load(words, node + POKE) === poke);
      }
    }
    return serving > TICKET_MASK ? Outcome.OwnerDied : Outcome.Taken;
  }

  /** @internal */
  protected release(lock: number): void {
    const { words } = this;
    const base = lock * this.#stride;
    const me = this.hal.currentCpu();
    const node = this.#node(base, me);
    const serving = after(words[base + SERVING]);
    Atomics.store(words, base + SERVING, serving);
    if (Atomics.load(words, node + NEXT) >>> CPU_BITS === (serving & LOW)) this.#handOver(base, me);
    words[node + TURN] = 0;
  }

  #node(base: number, cpu: CpuId): number {
    return base + WORDS_PER_LINE * (1 + cpu);
  }

  #isFree(tail: number, serving: number): boolean {
    return (((tail >>> CPU_BITS) + 1) & LOW) === (serving & LOW);
  }

  /** The low bits of the calling CPU's ticket: its old one if it still has a place; -1: it holds the lock. */
  #takeTicket(base: number, node: number, me: CpuId): number {
    const { words } = this;
    for (let turn = words[node + TURN]; turn !== 0; turn = Atomics.load(words, node + TURN)) {
      if ((turn & STATE_MASK) === WAITING) return -1;
      const low = turn >> STATE_BITS;
      const waiting = turnOf(low, WAITING);
      if ((turn & STATE_MASK) === PASSED) this.#forget(base, node, me, turn);
      else if (Atomics.compareExchange(words, node + TURN, turn, waiting) === turn) return low;
    }
    let tail = words[base + TAIL];
    for (;;) {
      const seen = this.#come(base, node, me, tail);
      if (seen === tail) return ((tail >>> CPU_BITS) + 1) & LOW;
      tail = seen;
    }
  }

  /** Take the ticket behind `tail`, unless somebody else has come; returns TAIL as it was. */
  #come(base: number, node: number, me: CpuId, tail: number): number {
    const low = ((tail >>> CPU_BITS) + 1) & LOW;
    this.words[node + PRED] = tail;
    this.words[node + TURN] = turnOf(low, WAITING);
    return Atomics.compareExchange(this.words, base + TAIL, tail, tagOf(low, me));
  }

  /** Become the one behind `pred`, unless that has gone on, and SERVING with it. */
  #link(base: number, low: number, me: CpuId, pred: number): void {
    const { words } = this;
    const front = this.#node(base, pred & CPU_MASK);
    for (;;) {
      const old = Atomics.load(words, front + NEXT);
      if (Atomics.load(words, front + TURN) >> STATE_BITS !== pred >>> CPU_BITS) return;
      if (Atomics.compareExchange(words, front + NEXT, old, tagOf(low, me)) === old) return;
    }
  }

  /** Give up waiting. False: the turn has come, the lock is the caller's. */
  #leave(base: number, node: number, low: number): boolean {
    const { words } = this;
    const left = turnOf(low, LEFT);
    Atomics.store(words, node + TURN, left);
    if ((Atomics.load(words, base + SERVING) & LOW) !== low) return true;
    return Atomics.compareExchange(words, node + TURN, left, turnOf(low, WAITING)) !== left;
  }

  /** Make the node of a place that was passed over usable again. False: the place is still in the queue. */
  #forget(base: number, node: number, me: CpuId, turn: number): boolean {
    if ((turn & STATE_MASK) === LEFT) return false;
    const serving = Atomics.load(this.words, base + SERVING);
    if ((serving & LOW) === turn >> STATE_BITS)
      Atomics.compareExchange(this.words, base + SERVING, serving, after(serving));
    // Whoever passes it over reads NEXT of this node afterwards, and would find the next round's: so tell here too.
    this.#handOver(base, me);
    Atomics.store(this.words, node + TURN, 0);
    return true;
  }

  /** SERVING has gone past the ticket of `from`: tell who is next, passing over those who left. */
  #handOver(base: number, from: CpuId): void {
    for (;;) {
      const serving = Atomics.load(this.words, base + SERVING);
      const next = Atomics.load(this.words, this.#node(base, from) + NEXT);
      // Nobody behind: who comes looks at SERVING itself.
      if (next >>> CPU_BITS !== (serving & LOW)) return;
      from = next & CPU_MASK;
      if (!this.#passOver(base, serving, from)) return;
    }
  }

  /** `cpu` has the ticket `serving`: move on if it left, else tell it. */
  #passOver(base: number, serving: number, cpu: CpuId): boolean {
    const { words } = this;
    const node = this.#node(base, cpu);
    const low = serving & LOW;
    for (;;) {
      const turn = Atomics.load(words, node + TURN);
      if (turn >> STATE_BITS !== low) return false;
      if ((turn & STATE_MASK) === WAITING) {
        if (this.#local) Atomics.add(words, node + POKE, 1);
        return false;
      }
      if ((turn & STATE_MASK) === PASSED) break;
      Atomics.compareExchange(words, node + TURN, turn, turnOf(low, PASSED));
    }
    Atomics.compareExchange(words, base + SERVING, serving, after(serving));
    return true;
  }

  /** Returns whether the dead CPU held the lock. */
  #bury(base: number, node: number, low: number, cpu: CpuId): boolean {
    const { words } = this;
    const serving = Atomics.load(words, base + SERVING);
    if (!this.#hasCome(base, tagOf(low, cpu)) || ((low - serving) & LOW) > LOW >> 1) {
      Atomics.store(words, node + TURN, 0);
      return false;
    }
    const held = (serving & LOW) === low;
    // The flag before the state: once it is Passed, others may move SERVING too.
    if (held) Atomics.or(words, base + SERVING, OWNER_DIED);
    Atomics.store(words, node + TURN, turnOf(low, held ? PASSED : LEFT));
    if (!held) this.#link(base, low, cpu, words[node + PRED]);
    return held;
  }

  /** Whether the dead CPU with this TAIL value swung TAIL. */
  #hasCome(base: number, tag: number): boolean {
    if (Atomics.load(this.words, base + TAIL) === tag) return true;
    const behind = ((tag >>> CPU_BITS) + 1) & LOW;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      const node = this.#node(base, cpu);
      if (Atomics.load(this.words, node + PRED) !== tag) continue;
      if (Atomics.load(this.words, node + TURN) >> STATE_BITS === behind) return true;
    }
    return false;
  }

  /** Tell whose turn it is, wherever the dead CPU stopped doing so. A CPU about to come may show the same ticket: tell all. */
  #handOverForTheDead(base: number): void {
    let moved = true;
    while (moved) {
      moved = false;
      // Shows this thread the nodes of all that have come.
      Atomics.load(this.words, base + TAIL);
      const serving = Atomics.load(this.words, base + SERVING);
      for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
        if (this.#hasTurn(base, cpu, serving & LOW) && this.#passOver(base, serving, cpu)) moved = true;
      }
    }
  }

  #hasTurn(base: number, cpu: CpuId, low: number): boolean {
    const turn = Atomics.load(this.words, this.#node(base, cpu) + TURN);
    return turn !== 0 && turn >> STATE_BITS === low;
  }
}
