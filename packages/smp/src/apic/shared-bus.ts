import { keepingAlive } from "../block-on.ts";
import { SmpError } from "../errors.ts";
import type { CpuId, Hal } from "../hal.ts";
import { deadlineOf } from "../locks/lock.ts";
import { soloHal } from "../solo-hal.ts";
import { PADDING_BYTES } from "../layout.ts";
import { EVERYBODY, FROM_DEVICE, emptyMessage, type ApicBus, type ApicMessage } from "./bus.ts";
import type { EoiListener } from "./fabric.ts";
import { ApicIdentities } from "./identities.ts";
import type { LocalApic } from "./local-apic.ts";
import { fillFromMsi } from "./message-signalled.ts";
import {
  EDGE_GROUP,
  ENDED_GROUP,
  LEVEL_GROUP,
  PostedInterrupts,
  SIGNAL_EXT_INT,
  SIGNAL_GROUP,
  SIGNAL_INIT,
  SIGNAL_NMI,
  SIGNAL_SMI,
  SIGNAL_STARTUP,
  STARTUP_VECTOR_SHIFT,
} from "./posted.ts";
import type { ApicDeliveryMode } from "./registers.ts";

/**
 * What joins a {@link SharedApicBus} from another thread.
 *
 * @public
 */
export interface SharedApicBusHandle {
  readonly possibleCpus: number;
  readonly extendedDestinations: boolean;
  readonly memory: SharedArrayBuffer;
}

/**
 * What a thread brings along to a {@link SharedApicBus}.
 *
 * @public
 */
export interface SharedApicBusOptions {
  /** Default {@link soloHal}. */
  readonly hal?: Hal | undefined;
  /**
   * `cpu` has been posted something and has nothing else outstanding: have its thread call {@link SharedApicBus.poll} soon. Default:
   * `hal.kick`, which ends {@link SharedApicBus.wait}. A thread that sleeps in an `IpiMailbox` is told by a `Reschedule` of it.
   */
  readonly notify?: ((cpu: CpuId) => void) | undefined;
}

/* The line before the CPUs': word 0, who is asked first for the next lowest-priority message. */
const TURN_BYTES = PADDING_BYTES;

/* Signals in the order in which they are taken; those beside INIT and start-up are of the time after them. */
const SIGNALS: readonly (readonly [number, ApicDeliveryMode])[] = [
  [SIGNAL_INIT, "init"],
  [SIGNAL_STARTUP, "startup"],
  [SIGNAL_NMI, "nmi"],
  [SIGNAL_SMI, "smi"],
  [SIGNAL_EXT_INT, "ext-int"],
];

/**
 * What connects interrupt controllers that live on different threads: a message for an APIC of the calling thread is received at
 * once; for an APIC of another it is posted in shared memory, as devices post interrupts for a virtual processor, and taken when
 * that thread polls. Of all that is posted between two polls the first notifies, and no other. I/O APICs may live on any thread;
 * ends of level-triggered interrupts reach them the same way.
 *
 * Lowest-priority messages go to the APIC with the lowest arbitration priority that its thread has shown, which does not
 * count what is posted and not taken; among equals they take turns. Posted requests of one vector are one, as in the APIC; where
 * edge- and level-triggered ones were posted together the level stays, so that its end is told. An INIT undoes signals posted before it.
 *
 * Thread-safety: messages from any thread; `connect`, `poll` and what is done to an APIC or I/O APIC, on its own thread.
 * Cost: to send, two atomic operations and a look at the target's registers, for logical destinations and shorthands at those of
 * all CPUs; to poll, one load where nothing is outstanding. Nothing is allocated.
 *
 * @public
 */
export class SharedApicBus implements ApicBus {
  readonly handle: SharedApicBusHandle;
  readonly #hal: Hal;
  readonly #notify: (cpu: CpuId) => void;
  readonly #turn: Int32Array;
  readonly #identities: ApicIdentities;
  readonly #posted: PostedInterrupts;
  /** APICs of this thread, by CPU, and their CPUs. */
  readonly #apics: (LocalApic | undefined)[] = [];
  readonly #cpus = new Map<LocalApic, CpuId>();
  readonly #ioApics: EoiListener[] = [];
  /** Of this thread's CPUs the one that ends are posted to; -1: the thread has no I/O APICs. */
  #ioApicCpu: CpuId = -1;
  /** Where an APIC id was found last: a guess. */
  readonly #cpuOfApic = new Map<number, CpuId>();
  readonly #message = emptyMessage();
  readonly #taken = emptyMessage();

  private constructor(handle: SharedApicBusHandle, options: SharedApicBusOptions) {
    const { hal = soloHal() } = options;
    const { memory, possibleCpus } = handle;
    this.handle = handle;
    this.#hal = hal;
    this.#notify = options.notify ?? ((cpu) => hal.kick(cpu));
    this.#turn = new Int32Array(memory, 0, 1);
    this.#identities = new ApicIdentities(memory, TURN_BYTES, possibleCpus);
    const posted = TURN_BYTES + ApicIdentities.bytes(possibleCpus);
    this.#posted = new PostedInterrupts(memory, posted, possibleCpus);
  }

  /** @param options - `extendedDestinations`: as for {@link ApicFabric}. */
  static create(options: SharedApicBusOptions & { readonly extendedDestinations?: boolean } = {}): SharedApicBus {
    const { hal = soloHal(), extendedDestinations = false } = options;
    const { possibleCpus } = hal;
    const bytes = TURN_BYTES + ApicIdentities.bytes(possibleCpus) + PostedInterrupts.bytes(possibleCpus);
    return new SharedApicBus(
      { possibleCpus, extendedDestinations, memory: new SharedArrayBuffer(bytes) },
      { ...options, hal },
    );
  }

  static attach(handle: SharedApicBusHandle, options: SharedApicBusOptions): SharedApicBus {
    return new SharedApicBus(handle, options);
  }

  /**
   * The APIC of a CPU that this thread plays. What was posted to that CPU before is forgotten. Throws `SMP_INVALID_CPU`, and
   * `SMP_INVALID_ARGUMENT` for a CPU that has an APIC and for an APIC id that is connected.
   */
  connect(apic: LocalApic, cpu: CpuId = this.#hal.currentCpu()): void {
    this.#checkCpu(cpu);
    if (this.#identities.hasApic(cpu)) throw new SmpError("SMP_INVALID_ARGUMENT", `CPU ${cpu} has an APIC already`);
    this.#posted.clear(cpu);
    this.#apics[cpu] = apic;
    this.#cpus.set(apic, cpu);
    this.#identities.publish(cpu, apic);
    // After it was published: of two threads that connect the same id at least one sees the other.
    for (let other = 0; other < this.handle.possibleCpus; other++) {
      if (other === cpu || !this.#identities.hasApic(other) || this.#identities.apicId(other) !== apic.apicId) continue;
      this.disconnect(cpu);
      throw new SmpError("SMP_INVALID_ARGUMENT", `APIC id ${apic.apicId} is connected already`);
    }
  }

  /** An I/O APIC of this thread. It is told of what ends elsewhere where the calling CPU (the first one that calls this) polls. */
  connectIoApic(ioApic: EoiListener): void {
    if (this.#ioApicCpu < 0) this.#ioApicCpu = this.#hal.currentCpu();
    this.#ioApics.push(ioApic);
    this.#identities.addIoApics(this.#ioApicCpu);
  }

  /** The APIC of `cpu`, and what its thread had besides, is gone: on its own thread, or on any once that has ended. */
  disconnect(cpu: CpuId = this.#hal.currentCpu()): void {
    this.#checkCpu(cpu);
    this.#identities.withdraw(cpu);
    this.#posted.clear(cpu);
    if (cpu === this.#ioApicCpu) {
      this.#ioApics.length = 0;
      this.#ioApicCpu = -1;
    }
    const apic = this.#apics[cpu];
    if (apic === undefined) return;
    this.#cpus.delete(apic);
    this.#apics[cpu] = undefined;
  }

  /** Returns how many APICs the message was for. */
  deliver(from: number, message: ApicMessage): number {
    if (message.mode === "lowest-priority") return this.#arbitrate(from, message);
    if (message.shorthand === 0 && !message.logical && message.destination !== EVERYBODY) {
      const cpu = this.#cpuOfApic.get(message.destination);
      if (cpu !== undefined && this.#identities.isAddressed(cpu, from, message)) return this.#carry(cpu, message);
    }
    let reached = 0;
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      if (!this.#identities.isAddressed(cpu, from, message)) continue;
      this.#cpuOfApic.set(this.#identities.apicId(cpu), cpu);
      reached += this.#carry(cpu, message);
    }
    return reached;
  }

  /** As {@link ApicFabric.deviceWrite}; the device may be on any thread. */
  deviceWrite(address: number, data: number): number {
    if (!fillFromMsi(this.#message, address, data, this.handle.extendedDestinations)) return 0;
    return this.deliver(FROM_DEVICE, this.#message);
  }

  endOfInterrupt(vector: number): void {
    this.#tellIoApics(vector);
    for (let cpu = 0; cpu < this.handle.possibleCpus; cpu++) {
      if (cpu === this.#ioApicCpu || !this.#identities.hasIoApics(cpu)) continue;
      if (this.#posted.postVector(cpu, ENDED_GROUP, vector)) this.#notify(cpu);
    }
  }

  /** {@inheritDoc ApicBus.changed} */
  changed(apic: LocalApic): void {
    const cpu = this.#cpus.get(apic);
    if (cpu !== undefined) this.#identities.publish(cpu, apic);
  }

  /** {@inheritDoc ApicBus.priorityChanged} */
  priorityChanged(apic: LocalApic): void {
    const cpu = this.#cpus.get(apic);
    if (cpu !== undefined) this.#identities.publishPriority(cpu, apic.arbitrationPriority);
  }

  /** Whether a CPU has been posted something that it has not taken. */
  isOutstanding(cpu: CpuId = this.#hal.currentCpu()): boolean {
    return this.#posted.isOutstanding(cpu);
  }

  /**
   * Give the APIC of a CPU that this thread plays, and the thread's I/O APICs, what others have posted: then it is requested there,
   * and the core's lines have been told. If one of them throws, the rest stays posted.
   *
   * @returns how many vectors and signals.
   */
  poll(cpu: CpuId = this.#hal.currentCpu()): number {
    let groups = this.#posted.takeOutstanding(cpu);
    let taken = 0;
    try {
      while (groups !== 0) {
        const group = lowestBit(groups);
        groups &= groups - 1;
        taken += group === SIGNAL_GROUP ? this.#takeSignals(cpu) : this.#takeVectors(cpu, group);
      }
    } finally {
      if (groups !== 0 && this.#posted.postGroups(cpu, groups)) this.#notify(cpu);
    }
    return taken;
  }

  /**
   * Sleep until something is posted to the calling CPU, at most `timeoutNs`, and take it; returns how much, 0 if nothing came.
   * Throws `SMP_CANNOT_BLOCK` on a thread that must not block and on machines that have no such sleep.
   */
  wait(timeoutNs: number = Infinity): number {
    const hal = this.#hal;
    if (hal.kicks === undefined || hal.waitForKick === undefined) throw cannotSleep();
    const endNs = deadlineOf(hal, timeoutNs);
    // What a kick told of may have been taken already, and kicks may be meant for something else.
    for (;;) {
      const seen = hal.kicks();
      const taken = this.poll();
      const leftNs = endNs - hal.now();
      if (taken > 0 || leftNs <= 0) return taken;
      hal.waitForKick(seen, leftNs);
    }
  }

  /** As {@link SharedApicBus.wait}, while the event loop goes on. */
  waitAsync(timeoutNs: number = Infinity): Promise<number> {
    return keepingAlive(this.#waitAsync(deadlineOf(this.#hal, timeoutNs)));
  }

  async #waitAsync(endNs: number): Promise<number> {
    const hal = this.#hal;
    if (hal.kicks === undefined || hal.waitForKickAsync === undefined) throw cannotSleep();
    for (;;) {
      const seen = hal.kicks();
      const taken = this.poll();
      const leftNs = endNs - hal.now();
      if (taken > 0 || leftNs <= 0) return taken;
      await hal.waitForKickAsync(seen, leftNs);
    }
  }

  #carry(cpu: CpuId, message: ApicMessage): number {
    const own = this.#apics[cpu];
    if (own !== undefined) own.receive(message);
    else if (this.#post(cpu, message)) this.#notify(cpu);
    return 1;
  }

  #post(cpu: CpuId, { mode, vector, levelTriggered }: ApicMessage): boolean {
    if (mode !== "fixed" && mode !== "lowest-priority") return this.#posted.postSignal(cpu, mode, vector);
    return this.#posted.postVector(cpu, levelTriggered ? LEVEL_GROUP : EDGE_GROUP, vector);
  }

  #takeVectors(cpu: CpuId, group: number): number {
    let bits = this.#posted.takeGroup(cpu, group);
    let taken = 0;
    try {
      for (; bits !== 0; taken++) {
        const vector = ((group & 7) << 5) | lowestBit(bits);
        bits &= bits - 1;
        if (group < ENDED_GROUP) this.#receive(cpu, "fixed", vector, group >= LEVEL_GROUP);
        else this.#tellIoApics(vector);
      }
    } finally {
      if (bits !== 0 && this.#posted.postBits(cpu, group, bits)) this.#notify(cpu);
    }
    return taken;
  }

  #takeSignals(cpu: CpuId): number {
    const word = this.#posted.takeGroup(cpu, SIGNAL_GROUP);
    const vector = (word >>> STARTUP_VECTOR_SHIFT) & 0xff;
    let taken = 0;
    let next = 0;
    try {
      while (next < SIGNALS.length) {
        const [signal, mode] = SIGNALS[next++];
        if ((word & signal) === 0) continue;
        taken++;
        this.#receive(cpu, mode, mode === "startup" ? vector : 0, false);
      }
    } finally {
      for (const [signal, mode] of SIGNALS.slice(next)) {
        if ((word & signal) !== 0 && this.#posted.postSignal(cpu, mode, vector)) this.#notify(cpu);
      }
    }
    return taken;
  }

  #tellIoApics(vector: number): void {
    for (const ioApic of this.#ioApics) ioApic.endOfInterrupt(vector);
  }

  #receive(cpu: CpuId, mode: ApicDeliveryMode, vector: number, levelTriggered: boolean): void {
    const message = this.#taken;
    message.mode = mode;
    message.vector = vector;
    message.levelTriggered = levelTriggered;
    this.#apics[cpu]?.receive(message);
  }

  #arbitrate(from: number, message: ApicMessage): number {
    const { possibleCpus } = this.handle;
    const identities = this.#identities;
    const first = Atomics.load(this.#turn, 0);
    let winner = -1;
    let lowest = Infinity;
    for (let step = 0; step < possibleCpus; step++) {
      const cpu = (first + step) % possibleCpus;
      if (!identities.isEnabled(cpu) || !identities.isAddressed(cpu, from, message)) continue;
      const priority = identities.arbitrationPriority(cpu);
      if (priority >= lowest) continue;
      lowest = priority;
      winner = cpu;
    }
    if (winner < 0) return 0;
    Atomics.store(this.#turn, 0, winner + 1);
    return this.#carry(winner, message);
  }

  #checkCpu(cpu: CpuId): void {
    if (Number.isInteger(cpu) && cpu >= 0 && cpu < this.handle.possibleCpus) return;
    throw new SmpError("SMP_INVALID_CPU", `CPU ${cpu} is not one of the ${this.handle.possibleCpus} possible CPUs`);
  }
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

function cannotSleep(): SmpError {
  return new SmpError("SMP_CANNOT_BLOCK", "this machine has no sleep that a kick ends");
}
