import { ApicFabric, IoApic, LocalApic, type ApicDeliveryMode, type ApicMessage, type CpuId, type Hal } from "@x/smp";
import type { IoApicPlace } from "./io-apic-places.ts";

/** Destination that means everybody where APIC ids have eight bits; no APIC has it. */
const XAPIC_BROADCAST = 0xff;
/** Delivery modes as events carry them. */
const MODES_ON_WIRE: readonly ApicDeliveryMode[] = [
  "fixed",
  "lowest-priority",
  "smi",
  "nmi",
  "init",
  "startup",
  "ext-int",
];
const MODE_SHIFT = 8;
const LEVEL_SHIFT = 11;

export interface InterruptControllersOptions {
  readonly cpus: readonly { readonly apicId: number }[];
  readonly ioApics: readonly IoApicPlace[];
  /** Gives the timers their time. */
  readonly hal: Hal;
  readonly timerHz: number;
  /** Frequency of the time-stamp counters; 0: the timers have no TSC-deadline mode. */
  readonly tscHz: number;
  /** A message leaves for a CPU; it comes in with {@link InterruptControllers.receive}. `from` is -1 for a device. */
  readonly send: (from: CpuId, to: CpuId, packed: number) => void;
  readonly init: (cpu: CpuId) => void;
  readonly startup: (cpu: CpuId, vector: number) => void;
}

interface PlacedIoApic {
  readonly place: IoApicPlace;
  readonly ioApic: IoApic;
}

/** Where an I/O APIC's page ends. */
const IO_APIC_BYTES = 0x1000;
/** What a read gives where nothing answers. */
const ALL_ONES = 0xffffffff;

/** The local APICs and I/O APICs of the machine and what connects them. */
export class InterruptControllers {
  readonly apics: readonly LocalApic[];
  readonly fabric: ApicFabric;
  readonly #ioApics: readonly PlacedIoApic[];
  readonly #cpuOfApic = new Map<number, CpuId>();
  readonly #send: InterruptControllersOptions["send"];
  readonly #message: { -readonly [Key in keyof ApicMessage]: ApicMessage[Key] } = {
    mode: "fixed",
    vector: 0,
    destination: 0,
    shorthand: 0,
    logical: false,
    levelTriggered: false,
  };

  constructor(options: InterruptControllersOptions) {
    this.#send = options.send;
    this.fabric = new ApicFabric({
      carry: (apic, message, from) => this.#carry(apic, message, from),
      // There is no interrupt remapping: devices reach APIC ids above 255 as in a virtual machine.
      extendedDestinations: true,
    });
    // Firmware of machines with such ids hands over in x2APIC mode.
    const x2apic = options.cpus.some(({ apicId }) => apicId >= XAPIC_BROADCAST);
    const { hal, timerHz, tscHz } = options;
    this.apics = options.cpus.map(({ apicId }, cpu) => {
      this.#cpuOfApic.set(apicId, cpu);
      const core = { init: () => options.init(cpu), startup: (vector: number) => options.startup(cpu, vector) };
      const apic = new LocalApic({
        apicId,
        bus: this.fabric,
        core,
        hal,
        x2apic,
        timerHz,
        tscHz,
        bootProcessor: cpu === 0,
      });
      this.fabric.connect(apic);
      return apic;
    });
    this.#ioApics = options.ioApics.map((place) => {
      const ioApic = new IoApic({ id: place.id, pins: place.pins, bus: this.fabric, extendedDestinations: true });
      this.fabric.connectIoApic(ioApic);
      return { place, ioApic };
    });
  }

  /** Read a device's register in memory. */
  read(address: number): number {
    const at = this.#at(address);
    return at === undefined ? ALL_ONES : at.ioApic.read(address - at.place.address);
  }

  write(address: number, value: number): void {
    const at = this.#at(address);
    at?.ioApic.write(address - at.place.address, value);
  }

  /** Whether an I/O APIC has the global system interrupt. */
  has(gsi: number): boolean {
    return this.#ofGsi(gsi) !== undefined;
  }

  /** The electrical level of an interrupt line. */
  setLine(gsi: number, high: boolean): void {
    const of = this.#ofGsi(gsi);
    of?.ioApic.setPin(gsi - of.place.gsiBase, high);
  }

  #at(address: number): PlacedIoApic | undefined {
    return this.#ioApics.find(({ place }) => address >= place.address && address < place.address + IO_APIC_BYTES);
  }

  #ofGsi(gsi: number): PlacedIoApic | undefined {
    return this.#ioApics.find(({ place: { gsiBase, pins } }) => gsi >= gsiBase && gsi < gsiBase + pins);
  }

  /** A message arrives at its CPU. */
  receive(cpu: CpuId, packed: number): void {
    const message = this.#message;
    message.mode = MODES_ON_WIRE[(packed >>> MODE_SHIFT) & 7];
    message.vector = packed & 0xff;
    message.levelTriggered = packed >>> LEVEL_SHIFT === 1;
    this.apics[cpu].receive(message);
  }

  #carry(apic: LocalApic, message: ApicMessage, from: number): void {
    const packed =
      (MODES_ON_WIRE.indexOf(message.mode) << MODE_SHIFT) |
      message.vector |
      (message.levelTriggered ? 1 << LEVEL_SHIFT : 0);
    this.#send(this.#cpuOfApic.get(from) ?? -1, this.#cpuOfApic.get(apic.apicId)!, packed);
  }
}
