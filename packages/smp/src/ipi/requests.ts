import type { CpuId, Hal } from "../hal.ts";
import { SmpError } from "../errors.ts";
import type { IpiMailbox } from "./mailbox.ts";
import type { IpiQueues } from "./queues.ts";
import { Status } from "./slots.ts";
import { LOOKS, SpinBudget } from "./spin-budget.ts";
import type { IpiType } from "./types.ts";

/**
 * Requests of the calling CPU to others, each of which acknowledges: what function calls and TLB shootdowns have in common. A
 * request is a chain of slots, one for each target, named by its first; 0 is a request to nobody, which is over.
 */
export class CpuRequests {
  readonly #hal: Hal;
  readonly #ipis: IpiMailbox;
  readonly #queues: IpiQueues;
  readonly #type: IpiType;
  readonly #spins: SpinBudget;

  constructor(hal: Hal, ipis: IpiMailbox, type: IpiType) {
    this.#hal = hal;
    this.#ipis = ipis;
    this.#queues = ipis.queues;
    this.#type = type;
    this.#spins = new SpinBudget(hal);
  }

  /** A slot, filled, not sent; 0: all are in use. */
  tryPrepare(status: Status, target: CpuId, code: number, a: number, b: number, c: number): number {
    const slot = this.#queues.fill(this.#hal.currentCpu(), status, target, this.#type, code);
    if (slot !== 0) this.#queues.setArguments(slot, a, b, c);
    return slot;
  }

  /** As {@link CpuRequests.tryPrepare}, serving the mailbox until a slot is free (as Linux waits for a csd's lock). */
  prepare(status: Status, target: CpuId, code: number, a: number, b: number, c: number): number {
    for (let spins = 0; ; spins++) {
      const slot = this.tryPrepare(status, target, code, a, b, c);
      if (slot !== 0) return slot;
      const cpu = this.#hal.currentCpu();
      if (this.#queues.allOver(cpu)) {
        const { depth } = this.#queues;
        throw new SmpError("SMP_CPU_STATE", `CPU ${cpu} has made ${depth} requests that are over, and finished none`);
      }
      if (this.#ipis.receive() === 0) this.#hal.relax(spins);
    }
  }

  /** Prepare and send a call, express where that is possible. */
  start(target: CpuId, code: number, a: number, b: number, c: number, run: (slot: number) => void): number {
    const express = this.#express(target, code, a, b, c);
    if (express !== 0) return express;
    const slot = this.prepare(Status.Call, target, code, a, b, c);
    this.send(slot, target, run);
    return slot;
  }

  /** As {@link CpuRequests.start}; 0: all slots are in use. */
  tryStart(target: CpuId, code: number, a: number, b: number, c: number, run: (slot: number) => void): number {
    const express = this.#express(target, code, a, b, c);
    if (express !== 0) return express;
    const slot = this.tryPrepare(Status.Call, target, code, a, b, c);
    if (slot !== 0) this.send(slot, target, run);
    return slot;
  }

  /** Send what was prepared; to the calling CPU: run it at once. A target that is offline ends it. */
  send(slot: number, target: CpuId, run: (slot: number) => void): boolean {
    const cpu = this.#hal.currentCpu();
    if (target === cpu) {
      run(slot);
      return true;
    }
    if (this.#ipis.deliver(cpu, target, this.#type, slot, slot, 1)) return true;
    this.#queues.notSent(slot);
    return false;
  }

  /** Whether a request is over: looks at each target's slot until one is not. */
  isOver(request: number): boolean {
    for (let slot = request; slot !== 0; slot = this.#queues.sibling(slot))
      if (!this.#queues.isOver(slot)) return false;
    return true;
  }

  /** As {@link CpuRequests.isOver}; if it is not, the calling CPU will be kicked when that may have changed. */
  isOverOrWatched(request: number): boolean {
    for (let slot = request; slot !== 0; slot = this.#queues.sibling(slot)) {
      if (!this.#queues.isOver(slot) && this.#queues.watch(slot)) return false;
    }
    return true;
  }

  /** Serve the mailbox until a request is over; false: it is not after `timeoutNs`. */
  wait(request: number, timeoutNs: number): boolean {
    const endNs = timeoutNs === Infinity ? Infinity : this.#hal.now() + timeoutNs;
    for (let slot = request; slot !== 0; slot = this.#queues.sibling(slot)) {
      if (!this.waitSlot(slot, endNs)) return false;
    }
    return true;
  }

  /** Give back the slots of a request that is over. */
  free(request: number): void {
    for (let slot = request; slot !== 0;) {
      const next = this.#queues.sibling(slot);
      this.#queues.recycle(slot);
      slot = next;
    }
  }

  /** {@link CpuRequests.wait} for one slot, up to a time of `hal.now()`. */
  waitSlot(slot: number, endNs: number): boolean {
    const hal = this.#hal;
    const sleeps = hal.waitForKick !== undefined;
    // Where nothing else happens meanwhile, the answer is looked for more often than requests of others.
    const looks = sleeps ? LOOKS : 1;
    let turn = 0;
    let slept = false;
    for (let soon = 1; !this.#queues.isOverWithin(slot, soon); turn += looks, soon = looks) {
      if (this.#ipis.receive() > 0) continue;
      if (endNs !== Infinity && hal.now() >= endNs) return false;
      if (!sleeps) hal.relax(turn);
      else if (turn < this.#spins.turns) this.#spins.relax(turn);
      else {
        this.#sleep(slot, endNs);
        slept = true;
        turn = -looks;
      }
    }
    if (!slept && turn > 0) this.#spins.found(turn);
    return true;
  }

  #express(target: CpuId, code: number, a: number, b: number, c: number): number {
    const cpu = this.#hal.currentCpu();
    return target === cpu ? 0 : this.#ipis.express(cpu, target, this.#type, code, a, b, c);
  }

  #sleep(slot: number, endNs: number): void {
    const hal = this.#hal;
    const seen = hal.kicks?.() ?? 0;
    if (!this.#queues.watch(slot) || this.#ipis.receive() > 0) return;
    const beganNs = hal.now();
    hal.waitForKick?.(seen, endNs === Infinity ? Infinity : Math.max(0, endNs - beganNs));
    this.#spins.slept(hal.now() - beganNs);
  }
}
