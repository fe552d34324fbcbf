const ENABLED = 1;
const NO_APIC_ID = 0xff;
const NO_X2APIC_ID = 0xffffffff;

/**
 * What is needed of a MADT entry. The entries of `parseMadt` (`@x/smp/acpi`) have it.
 *
 * @public
 */
export interface MadtProcessorLike {
  /** 0: local APIC, 9: local x2APIC; everything else is no processor. */
  readonly type: number;
  readonly apicId?: number;
  readonly x2apicId?: number;
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
  readonly online: boolean;
}

/**
 * The processors of a MADT, numbered as they are brought up: the boot processor, the other enabled ones in the order of the
 * table, then those that are not enabled. APIC ids that name nobody are skipped, and so is an id that was there already
 * (Linux: arch/x86/kernel/acpi/boot.c).
 */
export function madtCpus(madt: MadtLike, bspApicId: number | undefined): MadtCpu[] {
  const enabled = new Set<number>();
  const disabled = new Set<number>();
  for (const entry of madt.entries) {
    const apicId = entry.type === 0 ? entry.apicId : entry.type === 9 ? entry.x2apicId : undefined;
    if (apicId === undefined || apicId === (entry.type === 0 ? NO_APIC_ID : NO_X2APIC_ID)) continue;
    (((entry.flags ?? 0) & ENABLED) === 0 ? disabled : enabled).add(apicId);
  }
  const order = [...enabled];
  if (bspApicId !== undefined && enabled.has(bspApicId)) {
    order.splice(order.indexOf(bspApicId), 1);
    order.unshift(bspApicId);
  }
  const rest = [...disabled].filter((apicId) => !enabled.has(apicId));
  return [...order, ...rest].map((apicId, id) => ({ id, apicId, online: id < order.length }));
}
