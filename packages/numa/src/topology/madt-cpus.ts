const ENABLED = 1;
const NO_APIC_ID = 0xff;
const NO_X2APIC_ID = 0xffffffff;
/* Types of a MADT's structures that are processors (ACPI 6.5, table 5.21). */
const LOCAL_APIC = 0x00;
const LOCAL_X2APIC = 0x09;
const GICC = 0x0b;
const CORE_PIC = 0x11;
const RINTC = 0x18;

/**
 * What is needed of a MADT entry. The entries of `parseMadt` (`@x/smp/acpi`) have it.
 *
 * @public
 */
export interface MadtProcessorLike {
  /** 0: local APIC, 9: local x2APIC, 11: GICC, 17: core PIC, 24: RINTC; everything else is no processor. */
  readonly type: number;
  readonly apicId?: number;
  readonly x2apicId?: number;
  /** Of a GICC: the processor's MPIDR, and what stands for it in tables that have none. */
  readonly mpidr?: bigint;
  readonly cpuInterfaceNumber?: number;
  readonly coreId?: number;
  readonly hartId?: bigint;
  readonly acpiProcessorUid?: number;
  /** Bit 0: enabled. */
  readonly flags?: number;
}

/**
 * What is needed of a MADT.
 *
 * @public
 */
export interface MadtLike {
  readonly entries: readonly MadtProcessorLike[];
}

/** A processor of the MADT with the number it gets. */
export interface MadtCpu {
  readonly id: number;
  readonly apicId: number;
  /** Its ACPI processor UID, where the machine is an Arm one: the SRAT names its processors by that. */
  readonly armUid?: number;
  readonly online: boolean;
}

/**
 * The processors of a MADT, numbered as they are brought up: the boot processor, the other enabled ones in the order of the
 * table, then those that are not enabled. Ids that name nobody are skipped, and so is an id that was there already
 * (Linux: arch/x86/kernel/acpi/boot.c).
 */
export function madtCpus(madt: MadtLike, bspApicId: number | undefined): MadtCpu[] {
  const enabled = new Set<number>();
  const disabled = new Set<number>();
  const armUids = new Map<number, number>();
  for (const entry of madt.entries) {
    const id = idOf(entry);
    if (id === undefined) continue;
    (((entry.flags ?? 0) & ENABLED) === 0 ? disabled : enabled).add(id);
    if (entry.type === GICC && entry.acpiProcessorUid !== undefined) armUids.set(id, entry.acpiProcessorUid);
  }
  const order = [...enabled];
  if (bspApicId !== undefined && enabled.has(bspApicId)) {
    order.splice(order.indexOf(bspApicId), 1);
    order.unshift(bspApicId);
  }
  const rest = [...disabled].filter((apicId) => !enabled.has(apicId));
  return [...order, ...rest].map((apicId, id) => {
    const armUid = armUids.get(apicId);
    return { id, apicId, online: id < order.length, ...(armUid === undefined ? {} : { armUid }) };
  });
}

/** The id of 32 bits that interrupts are addressed to, as `madtProcessors` of `@x/smp/acpi` has it; undefined: no processor. */
function idOf(entry: MadtProcessorLike): number | undefined {
  switch (entry.type) {
    case LOCAL_APIC:
      return entry.apicId === NO_APIC_ID ? undefined : entry.apicId;
    case LOCAL_X2APIC:
      return entry.x2apicId === NO_X2APIC_ID ? undefined : entry.x2apicId;
    case GICC:
      return entry.mpidr === undefined ? entry.cpuInterfaceNumber : affinityOf(entry.mpidr);
    case CORE_PIC:
      return entry.coreId;
    case RINTC:
      return entry.hartId === undefined || entry.hartId > 0xffffffffn ? undefined : Number(entry.hartId);
    default:
      return undefined;
  }
}

/** Affinity 3 lies in bits 32 to 39 of the MPIDR, the others in bits 0 to 23 (Arm ARM, MPIDR_EL1). */
function affinityOf(mpidr: bigint): number {
  return Number(((mpidr >> 8n) & 0xff000000n) | (mpidr & 0xffffffn));
}
