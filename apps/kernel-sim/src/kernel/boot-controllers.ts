import { madtProcessors, type MadtEntry } from "@x/smp/acpi";
import type { IoApicInfo } from "./io-apic-driver.ts";
import type { Kernel } from "./kernel.ts";

/* What the boot log says of interrupt controllers, in the words of Linux (arch/x86/kernel/acpi/boot.c, drivers/acpi/tables.c). */
const POLARITY = ["dfl", "high", "res", "low"];
const TRIGGER = ["dfl", "edge", "res", "level"];

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, "0")}`;
const flags = (inti: number): string => `${POLARITY[inti & 3]} ${TRIGGER[(inti >>> 2) & 3]}`;

/** The controllers that the MADT describes, and how many processors there may be. */
export function printControllers(
  { log, platform }: Pick<Kernel, "log" | "platform">,
  ioApics: readonly IoApicInfo[],
): void {
  const { entries, localApicAddress } = platform.madt;
  log.print(`ACPI: Local APIC address ${hex(localApicAddress, 8)}`);
  for (const entry of entries) printLine(log, nonMaskable(entry));
  ioApics.forEach(({ id, version, address, gsiBase, pins }, at) => {
    const versionText = version === undefined ? "" : ` version ${version},`;
    const range = `GSI ${gsiBase}-${gsiBase + pins - 1}`;
    log.print(`IOAPIC[${at}]: apic_id ${id},${versionText} address ${hex(address, 8)}, ${range}`);
  });
  for (const entry of entries) printLine(log, override(entry));
  if (ioApics.length > 0) log.print("ACPI: Using ACPI (MADT) for SMP configuration information");
  const spare = madtProcessors(platform.madt).filter(({ enabled, onlineCapable }) => !enabled && onlineCapable).length;
  log.print(`smpboot: Allowing ${platform.processors.length + spare} CPUs, ${spare} hotplug CPUs`);
}

function printLine(log: Kernel["log"], text: string | undefined): void {
  if (text !== undefined) log.print(text);
}

function nonMaskable(entry: MadtEntry): string | undefined {
  if (entry.kind === "local-apic-nmi") {
    return `ACPI: LAPIC_NMI (acpi_id[${hex(entry.acpiProcessorId, 2)}] ${flags(entry.intiFlags)} lint[${hex(entry.lint, 1)}])`;
  }
  if (entry.kind === "local-x2apic-nmi") {
    return `ACPI: X2APIC_NMI (uid[${hex(entry.acpiProcessorUid, 2)}] ${flags(entry.intiFlags)} lint[${hex(entry.lint, 1)}])`;
  }
  return undefined;
}

function override(entry: MadtEntry): string | undefined {
  if (entry.kind === "interrupt-override") {
    const { bus, source, gsi, intiFlags } = entry;
    return `ACPI: INT_SRC_OVR (bus ${bus} bus_irq ${source} global_irq ${gsi} ${flags(intiFlags)})`;
  }
  if (entry.kind === "nmi-source") return `ACPI: NMI_SRC (${flags(entry.intiFlags)} global_irq ${entry.gsi})`;
  return undefined;
}
