import { SmpError } from "../errors.ts";
import { EVERYBODY, FROM_DEVICE, emptyMessage, type ApicBus, type ApicMessage } from "./bus.ts";
import type { LocalApic } from "./local-apic.ts";
import { fillFromMsi } from "./message-signalled.ts";

/**
 * Who hears of the end of level-triggered interrupts: an I/O APIC.
 *
 * @public
 */
export interface EoiListener {
  endOfInterrupt(vector: number): void;
}

/**
 * What connects the interrupt controllers of a machine whose processors one thread plays: messages between local APICs, from
 * I/O APICs and from devices find who they are for; of a lowest-priority message one gets it; ends of level-triggered
 * interrupts reach every I/O APIC.
 *
 * Lowest priority: the one with the lowest arbitration priority among those that are addressed and enabled; among equals they take
 * turns, as rotating arbitration ids make P6 processors do (Intel SDM volume 3A, sections 10.6.2.4 and 10.7).
 *
 * Thread-safety: none. Cost: a physical destination takes one look-up; logical ones and all but one shorthand look at every APIC.
 * Nothing is allocated.
 *
 * @public
 */
export class ApicFabric implements ApicBus {
  readonly #apics: LocalApic[] = [];
  readonly #byId = new Map<number, LocalApic>();
  readonly #ioApics: EoiListener[] = [];
  readonly #carry: (apic: LocalApic, message: ApicMessage, from: number) => void;
  readonly #extended: boolean;
  readonly #message = emptyMessage();
  /** Position of the APIC that is asked first for the next lowest-priority message. */
  #turn = 0;

  /**
   * @param options - `carry`: brings a message to an APIC that it is for, say later; default: at once, by `LocalApic.receive`. Copy what
   * is kept of the message. `extendedDestinations`: bits 5 to 11 of a device's address are bits 8 to 14 of the destination.
   */
  constructor(
    options: {
      readonly carry?: ((apic: LocalApic, message: ApicMessage, from: number) => void) | undefined;
      readonly extendedDestinations?: boolean | undefined;
    } = {},
  ) {
    this.#carry = options.carry ?? ((apic, message) => apic.receive(message));
    this.#extended = options.extendedDestinations ?? false;
  }

  /** Throws `SMP_INVALID_ARGUMENT` for an APIC id that is here already. */
  connect(apic: LocalApic): void {
    if (this.#byId.has(apic.apicId)) {
      throw new SmpError("SMP_INVALID_ARGUMENT", `APIC id ${apic.apicId} is connected already`);
    }
    this.#byId.set(apic.apicId, apic);
    this.#apics.push(apic);
  }

  connectIoApic(ioApic: EoiListener): void {
    this.#ioApics.push(ioApic);
  }

  /** Returns how many APICs the message was for. */
  deliver(from: number, message: ApicMessage): number {
    if (message.mode === "lowest-priority") return this.#arbitrate(from, message);
    if (message.shorthand === 0 && !message.logical && message.destination !== EVERYBODY) {
      const apic = this.#byId.get(message.destination);
      if (apic?.isAddressed(from, message) === true) return this.#carryTo(apic, message, from);
    }
    let reached = 0;
    for (const apic of this.#apics) {
      if (apic.isAddressed(from, message)) reached += this.#carryTo(apic, message, from);
    }
    return reached;
  }

  /**
   * A device writes `data` to `address`, both as {@link msiAddress} and {@link msiData} make them.
   *
   * @returns how many APICs it was for: 0 where the write is no interrupt.
   */
  deviceWrite(address: number, data: number): number {
    if (!fillFromMsi(this.#message, address, data, this.#extended)) return 0;
    return this.deliver(FROM_DEVICE, this.#message);
  }

  endOfInterrupt(vector: number): void {
    for (const ioApic of this.#ioApics) ioApic.endOfInterrupt(vector);
  }

  #carryTo(apic: LocalApic, message: ApicMessage, from: number): number {
    this.#carry(apic, message, from);
    return 1;
  }

  #arbitrate(from: number, message: ApicMessage): number {
    const count = this.#apics.length;
    let winner = -1;
    let lowest = Infinity;
    for (let step = 0; step < count; step++) {
      const at = (this.#turn + step) % count;
      const apic = this.#apics[at];
      if (!apic.enabled || !apic.isAddressed(from, message) || apic.arbitrationPriority >= lowest) continue;
      lowest = apic.arbitrationPriority;
      winner = at;
    }
    if (winner < 0) return 0;
    this.#turn = winner + 1;
    return this.#carryTo(this.#apics[winner], message, from);
  }
}
