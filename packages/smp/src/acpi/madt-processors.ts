import type { Madt, MadtEntry } from "./madt.ts";

/** Bits of the flags of a processor's structure (ACPI 6.5, tables 5.23 and 5.37; bit 3 in a GICC). */
const ENABLED = 1;
const ONLINE_CAPABLE = 2;
const GICC_ONLINE_CAPABLE = 8;
/** APIC ids that name no processor: the broadcast ids. */
const NO_APIC_ID = 0xff;
const NO_X2APIC_ID = 0xffffffff;

/**
 * A processor that the MADT describes.
 *
 * @public
 */
export interface MadtProcessor {
  /**
   * The 32-bit id that interrupts are addressed to. On x86 the (x2)APIC id; on Arm the four affinity bytes of the MPIDR, on RISC-V
   * the hart's id, on LoongArch the core's, on Itanium the SAPIC's id and EID.
   */
  readonly apicId: number;
  /** Names the processor in other tables and in the namespace. */
  readonly processorUid: number;
  /** Ready to use. */
  readonly enabled: boolean;
  /** Not enabled, but the system can enable it while it runs. */
  readonly onlineCapable: boolean;
}

/**
 * The processors of a MADT in its order, one for each id, of any architecture: broadcast ids are none, and among structures with
 * equal ids an enabled one counts, else the first (firmware fills unused slots with disabled copies). A GICC of ACPI 5.0 has no
 * MPIDR; its interface's number counts. Harts with ids of more than 32 bits are left out.
 *
 * @public
 */
export function madtProcessors(madt: Madt): MadtProcessor[] {
  const byApicId = new Map<number, MadtProcessor>();
  for (const entry of madt.entries) {
    const processor = processorOf(entry);
    if (processor === undefined) continue;
    const known = byApicId.get(processor.apicId);
    if (known?.enabled || (known && !processor.enabled)) continue;
    // Deleted first so that the enabled structure's place in the table decides the order.
    byApicId.delete(processor.apicId);
    byApicId.set(processor.apicId, processor);
  }
  return [...byApicId.values()];
}

function processorOf(entry: MadtEntry): MadtProcessor | undefined {
  switch (entry.kind) {
    case "local-apic":
      return entry.apicId === NO_APIC_ID
        ? undefined
        : processor(entry.apicId, entry.acpiProcessorId, entry.flags, ONLINE_CAPABLE);
    case "local-x2apic":
      return entry.x2apicId === NO_X2APIC_ID
        ? undefined
        : processor(entry.x2apicId, entry.acpiProcessorUid, entry.flags, ONLINE_CAPABLE);
    case "local-sapic": {
      const id = entry.localSapicId * 0x100 + entry.localSapicEid;
      return processor(id, entry.acpiProcessorUid ?? entry.acpiProcessorId, entry.flags, 0);
    }
    case "gicc": {
      const id = entry.mpidr === undefined ? entry.cpuInterfaceNumber : affinityOf(entry.mpidr);
      return processor(id, entry.acpiProcessorUid, entry.flags, GICC_ONLINE_CAPABLE);
    }
    case "core-pic":
      return processor(entry.coreId, entry.acpiProcessorUid, entry.flags, ONLINE_CAPABLE);
    case "rintc":
      return entry.hartId > 0xffffffffn
        ? undefined
        : processor(Number(entry.hartId), entry.acpiProcessorUid, entry.flags, ONLINE_CAPABLE);
    default:
      return undefined;
  }
}

function processor(apicId: number, processorUid: number, flags: number, onlineCapableBit: number): MadtProcessor {
  const enabled = (flags & ENABLED) !== 0;
  return { apicId, processorUid, enabled, onlineCapable: !enabled && (flags & onlineCapableBit) !== 0 };
}

/** Affinity 3 lies in bits 32 to 39 of the MPIDR, the others in bits 0 to 23 (Arm ARM, MPIDR_EL1). */
function affinityOf(mpidr: bigint): number {
  return Number(((mpidr >> 8n) & 0xff000000n) | (mpidr & 0xffffffn));
}
