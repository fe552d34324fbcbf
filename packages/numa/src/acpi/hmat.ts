import { dataView, type AcpiProblem, type AcpiTable } from "@x/smp/acpi";
import { requireSignature } from "./table-kind.ts";

/** Header of 36 bytes and a reserved word (ACPI 6.5, table 5.135). */
const STRUCTURES_OFFSET = 40;
/** `type` (2 bytes), reserved (2), `length` (4). */
const STRUCTURE_HEADER_BYTES = 8;

/**
 * Which initiator a memory domain belongs to (ACPI 6.5, section 5.2.28.3).
 *
 * @public
 */
export interface HmatProximity {
  readonly type: 0;
  readonly length: number;
  readonly kind: "proximity";
  /** Bit 0: `initiatorPxm` is valid. */
  readonly flags: number;
  readonly initiatorPxm: number;
  readonly memoryPxm: number;
}

/**
 * Latencies or bandwidths between initiators and targets (ACPI 6.5, section 5.2.28.4).
 *
 * @public
 */
export interface HmatLocality {
  readonly type: 1;
  readonly length: number;
  readonly kind: "locality";
  /** Bits 0 to 3: memory hierarchy, 0 is the memory itself. */
  readonly flags: number;
  /** 0 to 2: access, read, write latency; 3 to 5: access, read, write bandwidth. */
  readonly dataType: number;
  readonly entryBaseUnit: number;
  readonly initiators: readonly number[];
  readonly targets: readonly number[];
  /** As the table has it, initiator by initiator; 0xffff says «not reachable», 0 «not given». */
  readonly raw: readonly number[];
  /** `matrix[initiator][target]`, raw times base unit: picoseconds for latencies, MB/s for bandwidths. */
  readonly matrix: readonly (readonly number[])[];
}

/**
 * A cache in front of a memory domain (ACPI 6.5, section 5.2.28.5).
 *
 * @public
 */
export interface HmatMemorySideCache {
  readonly type: 2;
  readonly length: number;
  readonly kind: "memory-side-cache";
  readonly memoryPxm: number;
  /** Bytes. */
  readonly cacheSize: number;
  readonly attributes: number;
  readonly totalLevels: number;
  readonly level: number;
  /** 0: none, 1: direct mapped, 2: complex indexing. */
  readonly associativity: number;
  /** 0: none, 1: write back, 2: write through. */
  readonly writePolicy: number;
  /** Bytes. */
  readonly lineSize: number;
  /** How many SMBIOS handles follow. */
  readonly smbiosHandles: number;
}

/**
 * A structure of a type this decoder does not know, or one too short for its type (which is told as a problem).
 *
 * @public
 */
export interface HmatOther {
  readonly type: number;
  readonly length: number;
  readonly kind: "other";
  readonly bytes: readonly number[];
}

/**
 * One structure of the HMAT, told apart by `kind`.
 *
 * @public
 */
export type HmatEntry = HmatProximity | HmatLocality | HmatMemorySideCache | HmatOther;

/**
 * The Heterogeneous Memory Attribute Table.
 *
 * @public
 */
export interface Hmat {
  readonly revision: number;
  readonly entries: readonly HmatEntry[];
  readonly problems: readonly AcpiProblem[];
}

/**
 * Decode a HMAT as far as it can be decoded; what is wrong is listed in `problems`. Throws `NUMA_BAD_TABLE` for a table of
 * another signature.
 *
 * @public
 */
export function parseHmat(table: AcpiTable): Hmat {
  requireSignature(table, "HMAT");
  const { bytes } = table;
  const { revision } = table.header;
  const entries: HmatEntry[] = [];
  const problems: AcpiProblem[] = [];
  if (bytes.length < STRUCTURES_OFFSET) {
    const message = `a HMAT has at least ${STRUCTURES_OFFSET} bytes; this one has ${bytes.length}`;
    return { revision, entries, problems: [{ offset: bytes.length, message }] };
  }
  const view = dataView(bytes);
  let at = STRUCTURES_OFFSET;
  while (at < bytes.length) {
    const fault = structureFault(view, at);
    if (fault !== "") {
      problems.push({ offset: at, message: fault });
      break;
    }
    const length = view.getUint32(at + 4, true);
    const entry = decodeStructure(view, at, length);
    if (typeof entry === "string") {
      problems.push({ offset: at, message: entry });
      const raw = [...bytes.subarray(at, at + length)];
      entries.push({ type: view.getUint16(at, true), length, kind: "other", bytes: raw });
    } else {
      entries.push(entry);
    }
    at += length;
  }
  return { revision, entries, problems };
}

/** Why the walk cannot go past `at`, or an empty text. */
function structureFault(view: DataView, at: number): string {
  const left = view.byteLength - at;
  if (left < STRUCTURE_HEADER_BYTES) return "structure header cut off by the end of the table";
  const length = view.getUint32(at + 4, true);
  if (length < STRUCTURE_HEADER_BYTES) return `structure length ${length} is impossible`;
  return length > left ? `structure of ${length} bytes ends ${length - left} bytes past the table` : "";
}

function decodeStructure(view: DataView, at: number, length: number): HmatEntry | string {
  switch (view.getUint16(at, true)) {
    case 0:
      return length < 40 ? `proximity structure has ${length} bytes; it needs 40` : decodeProximity(view, at, length);
    case 1:
      return length < 32 ? `locality structure has ${length} bytes; it needs 32` : decodeLocality(view, at, length);
    case 2:
      return length < 32 ? `cache structure has ${length} bytes; it needs 32` : decodeCache(view, at, length);
    default: {
      const bytes = [...new Uint8Array(view.buffer, view.byteOffset + at, length)];
      return { type: view.getUint16(at, true), length, kind: "other", bytes };
    }
  }
}

function decodeProximity(view: DataView, at: number, length: number): HmatProximity {
  return {
    type: 0,
    length,
    kind: "proximity",
    flags: view.getUint16(at + 8, true),
    initiatorPxm: view.getUint32(at + 12, true),
    memoryPxm: view.getUint32(at + 16, true),
  };
}

function decodeLocality(view: DataView, at: number, length: number): HmatLocality | string {
  const initiatorCount = view.getUint32(at + 12, true);
  const targetCount = view.getUint32(at + 16, true);
  const needed = 32 + 4 * (initiatorCount + targetCount) + 2 * initiatorCount * targetCount;
  if (needed > length) {
    return `${initiatorCount} initiators and ${targetCount} targets need ${needed} bytes; the structure has ${length}`;
  }
  const unit = view.getBigUint64(at + 24, true);
  const targetsAt = at + 32 + 4 * initiatorCount;
  const rawAt = targetsAt + 4 * targetCount;
  const raw = Array.from({ length: initiatorCount * targetCount }, (_, i) => view.getUint16(rawAt + 2 * i, true));
  const entryBaseUnit = Number(unit);
  return {
    type: 1,
    length,
    kind: "locality",
    flags: view.getUint8(at + 8),
    dataType: view.getUint8(at + 9),
    entryBaseUnit,
    initiators: Array.from({ length: initiatorCount }, (_, i) => view.getUint32(at + 32 + 4 * i, true)),
    targets: Array.from({ length: targetCount }, (_, i) => view.getUint32(targetsAt + 4 * i, true)),
    raw,
    matrix: Array.from({ length: initiatorCount }, (_, i) =>
      raw.slice(i * targetCount, (i + 1) * targetCount).map((value) => value * entryBaseUnit),
    ),
  };
}

function decodeCache(view: DataView, at: number, length: number): HmatMemorySideCache {
  const attributes = view.getUint32(at + 24, true);
  return {
    type: 2,
    length,
    kind: "memory-side-cache",
    memoryPxm: view.getUint32(at + 8, true),
    cacheSize: Number(view.getBigUint64(at + 16, true)),
    attributes,
    totalLevels: attributes & 0xf,
    level: (attributes >>> 4) & 0xf,
    associativity: (attributes >>> 8) & 0xf,
    writePolicy: (attributes >>> 12) & 0xf,
    lineSize: attributes >>> 16,
    smbiosHandles: view.getUint16(at + 30, true),
  };
}
