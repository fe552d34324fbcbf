import { IoApicRegister, isaInterruptLine, redirectionEntry, type CpuId, type InterruptLine } from "@x/smp";
import type { Madt } from "@x/smp/acpi";
import { SimError } from "../errors.ts";
import type { Machine } from "../machine/machine.ts";
import type { ApicDriver } from "./apic-driver.ts";

/** An I/O APIC as the kernel found it. */
export interface IoApicInfo {
  readonly id: number;
  /** As its register says; undefined where there is no machine to ask. */
  readonly version: number | undefined;
  readonly address: number;
  readonly gsiBase: number;
  readonly pins: number;
}

/** The kernel's driver of the I/O APICs: finds them by the MADT, asks them for their size, writes their redirection tables. */
export class IoApicDriver {
  readonly controllers: readonly IoApicInfo[];
  readonly #machine: Machine;
  readonly #madt: Madt;
  readonly #apic: ApicDriver;

  constructor(machine: Machine, madt: Madt, apic: ApicDriver) {
    this.#machine = machine;
    this.#madt = madt;
    this.#apic = apic;
    this.controllers = madt.entries.flatMap((entry) => {
      if (entry.kind !== "io-apic") return [];
      const { ioApicId: id, address, gsiBase } = entry;
      const register = this.#read(address, IoApicRegister.Version);
      return [{ id, version: register & 0xff, address, gsiBase, pins: ((register >>> 16) & 0xff) + 1 }];
    });
  }

  /** The line of an ISA interrupt; undefined where none of the controllers has it. */
  isaLine(irq: number): InterruptLine | undefined {
    const line = isaInterruptLine(this.#madt, irq);
    return line !== undefined && this.#find(line.gsi) !== undefined ? line : undefined;
  }

  /** Position of the controller that has `gsi`, and the pin. */
  place(gsi: number): { readonly controller: number; readonly pin: number } {
    const info = this.#controller(gsi);
    return { controller: this.controllers.indexOf(info), pin: gsi - info.gsiBase };
  }

  /** Have a line interrupt `cpu` with `vector`, or not at all while masked. */
  route(line: InterruptLine, cpu: CpuId, vector: number, masked: boolean): void {
    const { address, gsiBase } = this.#controller(line.gsi);
    const low = IoApicRegister.Redirection + (line.gsi - gsiBase) * 2;
    const { level, activeLow } = line;
    const entry = { vector, level, activeLow, logical: this.#apic.logical };
    // While both words change the entry is masked.
    this.#write(address, low, redirectionEntry({ ...entry, masked: true }));
    this.#write(address, low + 1, destinationWord(this.#apic.destination(cpu)));
    if (!masked) this.#write(address, low, redirectionEntry(entry));
  }

  #controller(gsi: number): IoApicInfo {
    const info = this.#find(gsi);
    if (info === undefined) throw new SimError("SIM_NO_PROGRESS", `no I/O APIC has interrupt ${gsi}`);
    return info;
  }

  #find(gsi: number): IoApicInfo | undefined {
    return this.controllers.find(({ gsiBase, pins }) => gsi >= gsiBase && gsi < gsiBase + pins);
  }

  #read(address: number, register: number): number {
    this.#machine.mmioWrite(address + IoApicRegister.Select, register);
    return this.#machine.mmioRead(address + IoApicRegister.Window);
  }

  #write(address: number, register: number, value: number): void {
    this.#machine.mmioWrite(address + IoApicRegister.Select, register);
    this.#machine.mmioWrite(address + IoApicRegister.Window, value);
  }
}

/** Eight bits of the destination on top, and below them the next seven. */
function destinationWord(destination: number): number {
  return ((destination & 0xff) << 24) | (((destination >>> 8) & 0x7f) << 17);
}
